"""The ladder of matching, rung by rung, as a replay meets it."""

from __future__ import annotations

from datetime import UTC, datetime

from rashomon.model import Grade, Site, Step
from rashomon.replay.flow import Reading, Sources
from rashomon.replay.matching import Found, Matcher, call_of, of_process
from tests.steps import asked, llm, said, tape, tool, user

NOW, THEN = 1_790_000_123.25, 1_790_000_000.5
SITE = Site("/app/agent.py", 34, "main")
CLOCK = Reading("clock", "time.time", NOW, THEN, SITE)


def numbered(*steps: Step, processes: tuple[int, ...] = ()) -> tuple[Step, ...]:
    """The steps as recorded, each by its process."""
    owners = processes or (0,) * len(steps)
    return tuple(
        step._replace(id=f"{owner}.{n}", index=n) for n, (step, owner) in enumerate(zip(steps, owners, strict=True))
    )


def question(at: float, text: str = "What now?") -> Step:
    """A model call that tells the time."""
    return llm(said("ok"), asked(user(f"It is {datetime.fromtimestamp(at, UTC).isoformat()}. {text}")))


def taken(found: Found | None) -> tuple[str, str, bool]:
    """What a test compares."""
    assert found is not None
    return found.step.id, found.by, found.ambiguous


def test_a_lane_decides_before_a_process_and_a_process_before_arrival() -> None:
    """Of equal requests with different answers: own lane, own process, the earliest."""
    call = call_of(tool({}))
    steps = numbered(*(tool({}, n) for n in range(4)), processes=(0, 1, 1, 0))
    steps = tuple(step._replace(lane=lane) for step, lane in zip(steps, [(0,), (1,), (2,), (3,)], strict=True))
    matcher = Matcher(steps, 1)
    assert taken(matcher.take(call, (2,))) == ("1.2", "lane", False)
    assert taken(matcher.take(call, (9,))) == ("1.1", "process", True)
    assert taken(matcher.take(call, (9,))) == ("0.0", "arrival", True)
    assert taken(matcher.take(call, (3,))) == ("0.3", "lane", False)
    assert matcher.take(call, (3,)) is None


def test_lanes_of_programs_that_were_started_anew_prove_nothing() -> None:
    """Two processes count their lanes from the root: a lane of the other one is the same name, not the same line."""
    steps = numbered(tool({}, 1), tool({}, 2), processes=(0, 1))
    matcher = Matcher(steps, 1)
    assert taken(matcher.take(call_of(tool({})), ())) == ("1.1", "lane", False)
    assert taken(matcher.take(call_of(tool({})), ())) == ("0.0", "lane", True)


def test_equal_answers_are_not_ambiguous() -> None:
    """Whoever gets which of two equal answers gets the right one."""
    steps = numbered(tool({}, 1)._replace(lane=(0,)), tool({}, 1)._replace(lane=(1,)))
    assert taken(Matcher(steps).take(call_of(tool({})), None)) == ("0.0", "arrival", False)


def test_a_call_of_an_unknown_lane_is_not_taken_for_the_main_one() -> None:
    """A step that was recorded at the root because its lane was not known is chosen by arrival, and that is said."""
    steps = numbered(tool({}, 1)._replace(marks=("no-lane",)), tool({}, 2))
    matcher = Matcher(steps, 0)
    assert taken(matcher.take(call_of(tool({})), ())) == ("0.1", "lane", False)
    found = matcher.take(call_of(tool({})), ())
    assert taken(found) == ("0.0", "process", True)
    assert found is not None
    assert found.note == "one of 2 equal requests, by process; their answers differ, so it may be another's"


def test_what_another_process_has_is_passed_over() -> None:
    """A claim that is refused leads to the next candidate; a process that was not recorded gets nothing."""
    steps = numbered(tool({}, 1), tool({}, 2), processes=(0, 1))
    taken_elsewhere = {"0.0"}
    matcher = Matcher(steps, 0, lambda step_id: step_id not in taken_elsewhere)
    assert taken(matcher.take(call_of(tool({})), ()))[0] == "1.1"
    stranger = Matcher(steps, None, lambda step_id: True)
    assert stranger.take(call_of(tool({})), ()) is None
    assert stranger.take_in_order(call_of(tool({})), ()) is None
    assert (len(stranger.waiting()), stranger.served(), list(stranger.unserved())) == (2, [], [])


def test_a_worker_that_did_nothing_in_the_recording_may_do_its_pools_jobs() -> None:
    """A pool's jobs go to whichever worker is free: one without steps of its own gets those on the job's own line."""
    first, second = numbered(tool({}, 1), tool({}, 2), processes=(1, 1))
    steps = first._replace(lane=(5, 0)), second._replace(lane=(5, 1))
    idle = Matcher(steps, None, lambda step_id: True, jobs=frozenset({"1.0", "1.1"}))
    assert taken(idle.take(call_of(tool({})), (5, 1)))[0] == "1.1"
    assert idle.take(call_of(tool({})), (2,)) is None
    assert list(idle.unserved()) == []


def test_a_forked_child_goes_on_with_its_own_steps() -> None:
    """After a fork it stands for another process: its own steps come first, and without claims no others."""
    steps = numbered(tool({}, 1), tool({}, 2), tool({"q": 1}, 3), processes=(0, 1, 0))
    claimed = Matcher(steps, 0, lambda step_id: True)
    claimed.narrow(1)
    assert taken(claimed.take(call_of(tool({})), (7,))) == ("1.1", "process", True)
    alone = Matcher(steps, 0)
    alone.narrow(1)
    assert alone.take(call_of(tool({"q": 1})), ()) is None
    assert [step.id for step in alone.unserved()] == ["1.1"]


def test_a_replay_tells_what_was_not_asked_for() -> None:
    """Neither the inner steps of a tool that was served, nor what another process took, are missed."""
    outer, inner, other = numbered(tool({}, 1), tool({"in": 1}, 1), tool({"q": 1}, 1))
    steps = (outer, inner._replace(within=outer.id), other)
    matcher = Matcher(steps, 0)
    assert len(list(matcher.unserved())) == 3
    matcher.take(call_of(outer), ())
    assert [step.id for step in matcher.unserved()] == ["0.2"]
    assert not list(matcher.unserved(lambda step_id: step_id == "0.2"))


def test_a_call_that_stands_in_a_place_is_served_only_when_asked_for() -> None:
    """The next of the lane; in an unknown lane the one that is most alike of those that are next."""
    steps = numbered(
        tool({"city": "Oslo", "days": 3}, 1)._replace(lane=(0,)),
        tool({"city": "Rome", "days": 9}, 2)._replace(lane=(0,)),
        tool({"city": "Paris", "days": 5}, 3)._replace(lane=(1,)),
    )
    changed = call_of(tool({"city": "Paris", "days": 6}))
    assert Matcher(steps).take(changed, (0,)) is None
    in_lane, elsewhere = Matcher(steps).take_drifted(changed, (0,)), Matcher(steps).take_drifted(changed, None)
    assert in_lane is not None
    assert elsewhere is not None
    assert (in_lane.id, elsewhere.id) == ("0.0", "0.2")
    assert Matcher(steps).take_drifted(call_of(tool({}, name="other")), (0,)) is None


def test_a_time_that_was_read_explains_a_difference() -> None:
    """The grade says so, and the detail names both texts, the function, and the line that read it."""
    steps = numbered(question(THEN))
    assert Matcher(steps).take(call_of(question(NOW)), ()) is None
    found = Matcher(steps).take(call_of(question(NOW)), (), Sources([CLOCK]))
    assert found is not None
    assert found.grade == Grade.EXPLAINED
    assert found.detail == (
        'request.messages[0].content differs at "2026-09-21T14:13:20.500000" → "2026-09-21T14:15:23.250000", '
        "read from time.time() at agent.py:34 in main"
    )


def test_players_of_the_clock_keep_moments_as_numbers() -> None:
    """What `datetime.now` and `date.today` gave is recognised though it is recorded as year, month and so on."""
    for what, form, then, now in (
        ("datetime.datetime.now", "%d.%m.%Y %H:%M", [2026, 9, 21, 14, 13, 20, 5, 0], [2026, 9, 22, 15, 44, 1, 9, 0]),
        ("datetime.date.today", "%A, %d %B %Y", [2026, 9, 21], [2026, 10, 2]),
    ):
        before, after = (datetime(*value[:5]).strftime(form) for value in (then, now))  # type: ignore[arg-type]
        steps = numbered(llm(said("x"), asked(user(f"Today: {before}"))))
        live = call_of(llm(said(), asked(user(f"Today: {after}"))))
        sources = Sources([Reading("clock", what, now, then)])
        found = Matcher(steps).take(live, (), sources)
        assert found is not None
        assert found.grade == Grade.EXPLAINED


def test_numbers_are_explained_as_numbers() -> None:
    """A number in JSON, and one in a tool's arguments; but not a number that became a text."""
    sources = Sources([Reading("random", "random.random", 0.75312345, 0.125987)])
    steps = numbered(tool({"p": 0.125987}, 1))
    found = Matcher(steps).take(call_of(tool({"p": 0.75312345})), (), sources)
    assert found is not None
    assert Matcher(steps).take(call_of(tool({"p": "0.75312345"})), (), sources) is None
    assert Matcher(steps).take(call_of(tool({"p": 10.75312345})), (), sources) is None


def test_an_answer_that_was_given_instead_is_no_reason_to_serve() -> None:
    """What follows from a stub goes on with another request: the recorded answer would be a wrong one."""
    steps = numbered(llm(said("It costs 4200."), asked(user("price 4200"))))
    changed = call_of(llm(said(), asked(user("price 9700"))))
    assert Matcher(steps).take(changed, (), Sources([CLOCK])) is None


def test_of_several_that_differ_in_the_time_the_lane_decides() -> None:
    """Parallel calls that tell the time: each lane gets its own; without a lane the choice is called ambiguous."""
    steps = numbered(
        *(question(THEN)._replace(lane=(n,), response=llm(said(str(n))).response) for n in range(3)),
    )
    live = call_of(question(NOW))
    assert taken(Matcher(steps, 0).take(live, (1,), Sources([CLOCK]))) == ("0.1", "content", False)
    assert taken(Matcher(steps, 0).take(live, None, Sources([CLOCK]))) == ("0.0", "process", True)


def test_damaged_requests_answer_nobody() -> None:
    """Bytes that could not be read whole are not compared."""
    steps = numbered(tool({"q": 1}, 1)._replace(marks=("damaged-request",)))
    assert Matcher(steps).take(call_of(tool({"q": 1})), ()) is None


def test_reads_that_the_recording_did_not_make_are_compared_by_form() -> None:
    """A library's clock: the recorded text must tell a moment of the recording, else it is content."""
    reading = Reading("clock", "time.time", NOW, reason="a library's own reads are not recorded")
    for span, served in (((THEN - 1, THEN + 1), True), ((THEN + 500, THEN + 600), False), (None, False)):
        found = Matcher(numbered(question(THEN))).take(call_of(question(NOW)), (), Sources([reading], span=span))
        assert (found is not None) == served


def test_a_process_sees_its_own_steps() -> None:
    """And a process that was not recorded sees none."""
    whole = tape([tool({}, 1)])
    assert len(of_process(whole, 0).steps) == 1
    assert not of_process(whole, None).steps
