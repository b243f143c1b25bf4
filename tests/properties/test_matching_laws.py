"""Laws of matching: never another call's answer, each step once, and renaming only where nothing is lost by it."""

from __future__ import annotations

import importlib.util
import itertools
import json
import random
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rashomon.canonical import content_digest
from rashomon.model import Grade, Kind, Lane, Request, Step
from rashomon.replay.flow import UNKNOWN, Reading, Sources
from rashomon.replay.identifiers import neutral
from rashomon.replay.matching import Matcher, call_of
from tests.conftest import NO_REAL_DATA, real_data
from tests.steps import asked, http, llm, said, tool, user

Content = tuple[str, int]
lanes = st.sampled_from([(), (0,), (1,), (0, 0)])
contents = st.tuples(st.sampled_from(["llm", "one", "two"]), st.integers(0, 3))
digits = "0123456789abcdef"
chances = st.integers(0, 2**32).map(random.Random)


def made(content: Content, answer: Any = "x", lane: Lane = ()) -> Step:
    """A recorded call: equal contents make equal requests."""
    kind, asks = content
    step = (
        llm(said(f"answer {answer}"), asked(user(f"question {asks}")))
        if kind == "llm"
        else tool({"id": f"item {asks}"}, {"value": answer}, name=kind)
    )
    return step._replace(lane=lane)


def recorded(steps: list[Step], processes: list[int] | None = None) -> tuple[Step, ...]:
    """The steps as those of one process, or of the processes given for each."""
    owners = processes or [0] * len(steps)
    return tuple(
        step._replace(id=f"{owner}.{n}", index=n, started_us=n)
        for n, (step, owner) in enumerate(zip(steps, owners, strict=True))
    )


# ------------------------------------------------------------------------------------------- equal content


@given(st.lists(contents, unique=True), st.data())
def test_in_any_order_a_unique_call_gets_its_own_answer(asks: list[Content], data: st.DataObject) -> None:
    """Neither order nor lanes matter where contents differ."""
    steps = recorded([made(content, n, data.draw(lanes)) for n, content in enumerate(asks)])
    matcher = Matcher(steps)
    for step in data.draw(st.permutations(steps)):
        found = matcher.take(call_of(step), data.draw(lanes))
        assert found is not None
        assert (found.step, found.by, found.ambiguous, found.grade) == (step, "content", False, Grade.EXACT)
    assert not list(matcher.unserved())


@given(st.lists(st.tuples(contents, lanes)), st.lists(st.tuples(contents, lanes)))
def test_an_answer_belongs_to_an_equal_call(held: list[Any], asks: list[Any]) -> None:
    """What is served has the kind, the name and the content that was asked for; what is refused has no equal left."""
    steps = recorded([made(content, n, lane) for n, (content, lane) in enumerate(held)])
    matcher = Matcher(steps)
    served: set[str] = set()
    for content, lane in asks:
        call = call_of(made(content))
        found = matcher.take(call, lane)
        left = [
            step for step in steps if step.id not in served and content_digest(call_of(step)) == content_digest(call)
        ]
        if found is None:
            assert not left
        else:
            assert found.step in left
            served.add(found.step.id)
    assert {step.id for step in matcher.served()} == served


@given(st.lists(st.tuples(contents, lanes, st.integers(0, 2)), max_size=20), st.data())
def test_processes_share_a_tape_without_serving_a_step_twice(held: list[Any], data: st.DataObject) -> None:
    """Three processes ask for what was recorded, in any interleaving and any process: every call gets an answer."""
    steps = recorded([made(content, n, lane) for n, (content, lane, _) in enumerate(held)], [one[2] for one in held])
    taken: set[str] = set()

    def claim(step_id: str) -> bool:
        fresh = step_id not in taken
        taken.add(step_id)
        return fresh

    processes = [Matcher(steps, number, claim) for number in range(3)]
    served = []
    for step in data.draw(st.permutations(steps)):
        found = data.draw(st.sampled_from(processes)).take(call_of(step), data.draw(lanes))
        assert found is not None
        assert content_digest(call_of(found.step)) == content_digest(call_of(step))
        served.append(found.step.id)
    assert sorted(served) == sorted(step.id for step in steps)


@given(st.lists(st.tuples(contents, lanes, st.integers(0, 1)), max_size=12), st.data())
def test_what_is_ambiguous_is_called_so_and_nothing_else(held: list[Any], data: st.DataObject) -> None:
    """Ambiguous: equal requests had different answers, and it was not the asker's own lane that chose."""
    steps = recorded([made(content, answer, lane) for content, lane, answer in held])
    matcher = Matcher(steps, 0)
    for step in data.draw(st.permutations(steps)):
        lane = data.draw(st.none() | lanes)
        found = matcher.take(call_of(step), lane)
        assert found is not None
        equal = [other for other in steps if content_digest(call_of(other)) == content_digest(call_of(step))]
        differ = len({other.response.body for other in equal}) > 1
        assert found.of == len(equal)
        assert found.ambiguous == (differ and found.step.lane != lane)
        assert (found.by == "lane") == (len(equal) > 1 and found.step.lane == lane)


@given(st.lists(st.tuples(contents, lanes), max_size=16), chances)
def test_a_lane_gets_the_answers_that_it_got(held: list[Any], chance: random.Random) -> None:
    """Lanes interleave differently, and each asks in its own order: every call gets the very step that it was."""
    steps = recorded([made(content, n, lane) for n, (content, lane) in enumerate(held)])
    matcher = Matcher(steps, 0)
    waiting: dict[Lane, list[Step]] = {}
    for step in steps:
        waiting.setdefault(step.lane, []).append(step)
    while waiting:
        lane = chance.choice(sorted(waiting))
        step = waiting[lane].pop(0)
        if not waiting[lane]:
            del waiting[lane]
        found = matcher.take(call_of(step), lane)
        assert found is not None
        assert (found.step.id, found.ambiguous) == (step.id, False)


@given(st.lists(st.tuples(contents, lanes), max_size=12), st.lists(st.tuples(contents, lanes), max_size=12))
def test_by_place_a_call_gets_one_of_its_name(held: list[Any], asks: list[Any]) -> None:
    """Stubs and drifted answers stand for a step of the same kind and name, each once, while there are any."""
    steps = recorded([made(content, n, lane) for n, (content, lane) in enumerate(held)])
    for take in (Matcher(steps).take_in_order, Matcher(steps).take_drifted):
        left = list(steps)
        for content, lane in asks:
            call = call_of(made(content))
            step = take(call, lane)
            named = [other for other in left if (other.kind, other.name) == (call.kind, call.name)]
            assert (step is None) == (not named)
            if step is not None:
                assert step in named
                left.remove(step)


# ------------------------------------------------------------------------------------------- generated ids


def uuid(chance: random.Random) -> str:
    """A random UUID."""
    text = "".join(chance.choices(digits, k=32))
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def letters(chance: random.Random, prefix: str) -> str:
    """A provider's id; the digit and the letters make sure that it looks like one."""
    return prefix + "".join(chance.choices("abcdefghijkmABCDEFGH0123456789", k=20)) + "7aB"


MAKERS: dict[str, Callable[[random.Random], str]] = {
    "uuid": uuid,
    "upper": lambda chance: uuid(chance).upper(),
    "run": lambda chance: f"run--{uuid(chance)}-0",
    "call": lambda chance: letters(chance, "call_"),
    "toolu": lambda chance: letters(chance, "toolu_01"),
    "chatcmpl": lambda chance: letters(chance, "chatcmpl-"),
    "hex": lambda chance: "".join(chance.choices(digits, k=30)) + "a1",
    "ulid": lambda chance: "01" + "".join(chance.choices("0123456789ABCDEFGHJKMNPQRSTVWXYZ", k=23)) + "7",
}


def conversation(ids: list[str], text: str) -> Step:
    """A model call whose messages hold ids in texts and in id fields, some of them twice."""
    messages: list[dict[str, Any]] = [user(f"{text}:\n{name}, {name}") for name in ids]
    messages += [{"role": "tool", "tool_call_id": name, "content": json.dumps({"ref": name})} for name in ids]
    return llm(said("done"), asked(*messages))


some_ids = st.lists(st.sampled_from(sorted(MAKERS)), min_size=1, max_size=5)


@settings(max_examples=60)
@given(st.lists(some_ids, min_size=1, max_size=4), chances)
def test_renaming_by_a_bijection_keeps_every_match(shapes: list[list[str]], chance: random.Random) -> None:
    """A program whose ids are all new, used as in the recording, finds all of its answers, in any order."""
    pool = {shape: [MAKERS[shape](chance) for _ in range(3)] for shape in MAKERS}
    renamed = {name: MAKERS[shape](chance) for shape, names in pool.items() for name in names}
    used = [[chance.choice(pool[shape]) for shape in turn] for turn in shapes]
    steps = recorded([conversation(ids, f"turn {n}") for n, ids in enumerate(used)])
    matcher = Matcher(steps, 0)
    for n in chance.sample(range(len(steps)), len(steps)):
        live = conversation([renamed[name] for name in used[n]], f"turn {n}")
        found = matcher.take(call_of(live), ())
        assert found is not None
        assert (found.step.id, found.grade, found.ambiguous) == (steps[n].id, Grade.EXACT, False)
        assert renamed[used[n][0]].removeprefix("run--").removesuffix("-0") in found.detail


@settings(max_examples=60)
@given(st.sampled_from(sorted(MAKERS)), chances, st.booleans())
def test_what_is_no_bijection_is_not_equal(shape: str, chance: random.Random, at_once: bool) -> None:
    """Two ids that became one, or one that became two, are another request: in one message and over a replay."""
    a, b, x, y = (MAKERS[shape](chance) for _ in range(4))
    for before, now in (((a, b), (x, x)), ((a, a), (x, y))):
        if at_once:
            matcher = Matcher(recorded([conversation(list(before), "turn")]))
            assert matcher.take(call_of(conversation(list(now), "turn")), ()) is None
            continue
        matcher = Matcher(recorded([conversation([name], f"turn {n}") for n, name in enumerate(before)]))
        found = [matcher.take(call_of(conversation([name], f"turn {n}")), ()) for n, name in enumerate(now)]
        assert found[0] is not None
        assert found[1] is None


@settings(max_examples=60)
@given(st.sampled_from(sorted(MAKERS)), chances)
def test_ids_that_carry_meaning_are_content(shape: str, chance: random.Random) -> None:
    """Swapped ids, ids that an answer holds, ids that another request holds, and looked-up ids are never renamed."""
    a, b, new = (MAKERS[shape](chance) for _ in range(3))
    first = conversation([a, b], "turn")
    assert Matcher(recorded([first])).take(call_of(conversation([b, a], "turn")), ()) is None

    other = conversation([new], "turn")
    told = tool({"q": 1}, {"order": a})
    assert Matcher(recorded([told, conversation([a], "turn")])).take(call_of(other), ()) is None
    elsewhere = conversation([new], "another turn")
    assert Matcher(recorded([elsewhere, conversation([a], "turn")])).take(call_of(other), ()) is None

    if shape not in ("call", "toolu", "chatcmpl"):  # these name calls, whoever holds them
        looked_up = tool({"customer_id": a}, {"name": "Ada"})
        assert Matcher(recorded([looked_up])).take(call_of(tool({"customer_id": new})), ()) is None
    page = http(Kind.HTTP, b"", b"{}", url=f"https://shop.example/orders/{a}")
    renamed = http(Kind.HTTP, b"", b"", url=f"https://shop.example/orders/{new}")
    assert Matcher(recorded([page])).take(call_of(renamed), ()) is None


@given(
    st.text(st.sampled_from("AB-_10429xyz "), min_size=1, max_size=30),
    st.text(st.sampled_from("AB-_10429xyz "), min_size=1, max_size=30),
)
def test_what_is_not_generated_is_not_renamed(a: str, b: str) -> None:
    """Order numbers, names and amounts differ, and so do the requests."""
    for one, other in (
        (llm(said("x"), asked(user(a))), llm(said(), asked(user(b)))),
        (tool({"order_id": a}, 1), tool({"order_id": b})),
    ):
        found = Matcher(recorded([one])).take(call_of(other), ())
        assert (found is not None) == (a == b)


@given(chances)
def test_an_id_that_stood_for_itself_stays_itself(chance: random.Random) -> None:
    """What an exact match has shown to be the same id cannot become another one later."""
    a, new = uuid(chance), uuid(chance)
    matcher = Matcher(recorded([conversation([a], "first"), conversation([a], "second")]))
    assert matcher.take(call_of(conversation([a], "first")), ()) is not None
    assert matcher.take(call_of(conversation([new], "second")), ()) is None


def test_ids_of_a_tools_own_call_are_renamed() -> None:
    """A request id says which call it is, and not what it is about."""
    chance = random.Random(11)
    a, b = uuid(chance), uuid(chance)
    matcher = Matcher(recorded([tool({"request_id": a, "city": "Oslo"}, 12), tool({"call": "call_9pw0cM8NlMUq"}, 1)]))
    found = matcher.take(call_of(tool({"request_id": b, "city": "Oslo"})), ())
    assert found is not None
    assert found.note == f"with generated ids renamed: {a} → {b}"
    assert matcher.take(call_of(tool({"call": "call_8qx1dN9OmNVr"})), ()) is not None
    fields = {"idempotency_key": a}
    page = http(Kind.HTTP, json.dumps(fields).encode(), b"{}")
    again = http(Kind.HTTP, json.dumps({"idempotency_key": b}).encode(), b"")
    assert Matcher(recorded([page])).take(call_of(again), ()) is not None


def test_a_reference_to_what_a_provider_keeps_is_content() -> None:
    """Another response, file or thread is another thing, though it has a generated id."""
    for key, prefix in (("previous_response_id", "resp_"), ("file_id", "file-"), ("thread", "thread_")):
        one, two = (llm(said("x"), {"model": "m", key: prefix + digit * 8 + "a1b2" * 8}) for digit in "12")
        assert Matcher(recorded([one])).take(call_of(two), ()) is None


def test_equal_but_for_ids_goes_by_lane_and_else_is_ambiguous() -> None:
    """Branches with ids of their own and different answers: the lane decides, or it is said that nothing did."""
    chance = random.Random(5)
    steps = [
        conversation([uuid(chance)], "turn")._replace(lane=(n,), response=llm(said(f"{n}")).response) for n in range(3)
    ]
    by_lane, by_arrival = Matcher(recorded(steps), 0), Matcher(recorded(steps), 0)
    for n, by in ((2, "lane"), (0, "lane"), (1, "content")):  # the ids of the last can only be meant for one
        live = call_of(conversation([uuid(chance)], "turn"))
        found = by_lane.take(live, (n,))
        assert found is not None
        assert (found.step.id, found.by, found.ambiguous) == (f"0.{n}", by, False)
    live = call_of(conversation([uuid(chance)], "turn"))
    first, again = by_arrival.take(live, None), None
    assert first is not None
    assert (first.step.id, first.by, first.ambiguous) == ("0.0", "process", True)
    again = by_arrival.take(live, None)
    assert again is None  # its id is bound: the other branches are not meant


# ------------------------------------------------------------------------------------------- clock and chance

moments = st.floats(1.6e9, 1.9e9).map(lambda value: round(value, 6))
FORMS = ("%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S", "%d.%m.%Y", "%A, %d %B %Y", "%H:%M:%S", "%Y-%m-%d", "%B %d, %Y")


@settings(max_examples=30)
@given(moments, moments, st.sampled_from(FORMS), st.booleans(), st.text(max_size=20))
def test_only_what_was_read_is_explained(then: float, now: float, form: str, known: bool, said_too: str) -> None:
    """A request that differs at a time that was read is served as explained; with any other difference it is not."""
    before, after = (datetime.fromtimestamp(value, UTC).strftime(form) for value in (then, now))
    step = llm(said("x"), asked(user(f"It is {before}, and {before}."), user("one")))
    live = llm(said(), asked(user(f"It is {after}, and {after}."), user("one")))
    reading = Reading("clock", "time.time", now, then if known else UNKNOWN)
    sources = Sources([reading], span=(then - 5, then + 5))
    found = Matcher(recorded([step])).take(call_of(live), (), sources)
    assert found is not None
    assert (found.grade, found.step.id) == (Grade.EXACT if before == after else Grade.EXPLAINED, "0.0")
    if before == after:
        return
    assert "time.time()" in found.detail
    assert Matcher(recorded([step])).take(call_of(live), ()) is None
    assert Matcher(recorded([step])).take(call_of(live), (), Sources([reading._replace(live=now - 1e9)])) is None
    changed = llm(said(), asked(user(f"It is {after}, and {after}."), user(f"one{said_too} more")))
    assert Matcher(recorded([step])).take(call_of(changed), (), sources) is None
    mixed = llm(said(), asked(user(f"It is {after}, and {before}."), user("two")))
    assert Matcher(recorded([step])).take(call_of(mixed), (), sources) is None


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16), st.booleans())
def test_chance_is_explained_in_its_spellings(then: bytes, now: bytes, known: bool) -> None:
    """Bytes that were drawn are recognised as hex and as a UUID, also where they select the answer."""
    from uuid import UUID

    for spell in (bytes.hex, lambda data: str(UUID(bytes=data, version=4))):
        steps = recorded([tool({"key": spell(then)}, 1)])
        sources = Sources([Reading("random", "os.urandom(16)", now, then if known else UNKNOWN)])
        found = Matcher(steps).take(call_of(tool({"key": spell(now)})), (), sources)
        assert found is not None
        assert found.grade == (Grade.EXACT if spell(then) == spell(now) else Grade.EXPLAINED)


# ------------------------------------------------------------------------------------------- real traffic


def real_steps() -> list[Step]:
    """All recorded provider traffic, as one tape."""
    folder = real_data()
    if folder is None:
        pytest.skip(NO_REAL_DATA)
    spec = importlib.util.spec_from_file_location("real_data_loaders_matching", folder / "loaders.py")
    assert spec is not None
    assert spec.loader is not None
    loaders = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaders
    spec.loader.exec_module(loaders)
    found: list[Step] = []
    for one in itertools.chain.from_iterable(loaders.iter_cassettes(errors=[])):
        head = {"method": one.method, "url": one.url, "headers": [["content-type", "application/json"]]}
        found.append(llm(one.body)._replace(request=Request(head, one.req_body)))
    return found


def test_no_two_real_requests_become_equal_by_renaming() -> None:
    """Without its own step a request finds none, though another has its form; with it, it finds that one."""
    steps = recorded(real_steps())
    assert len(steps) > 300
    forms: dict[str, dict[str, Step]] = {}
    for step in steps:
        renaming = neutral(call_of(step))
        if renaming.ids:
            forms.setdefault(renaming.form, {})[content_digest(call_of(step))] = step
    alike = [group for group in forms.values() if len(group) > 1]
    assert alike  # one program, recorded twice, with other ids from the provider
    for name, other in ((name, group[name]) for group in alike for name in list(group)[:1]):
        left = [step for step in steps if content_digest(call_of(step)) != name]
        assert Matcher(left, 0).take(call_of(other), None) is None, other.request.body[:500]
    matcher = Matcher(steps, 0)
    for step in reversed(steps):
        found = matcher.take(call_of(step), None)
        assert found is not None
        assert found.detail == ""
        assert content_digest(call_of(found.step)) == content_digest(call_of(step))
