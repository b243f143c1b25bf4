"""Bundles: what goes in comes out equal, in another home; what is damaged or hostile is named and does nothing."""

from __future__ import annotations

import json
import lzma
import random
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rashomon import notes, tapes
from rashomon.errors import DamagedData, ForeignFile, NewerFormat, UsageError
from rashomon.journal import Code
from rashomon.model import Tape
from rashomon.notes import Note
from rashomon.store import bundle, open_home
from rashomon.store.bundle_frames import segments
from rashomon.store.exporting import chosen, export_bundle
from rashomon.store.importing import Conflict, Imported, import_bundle, import_tapes
from rashomon.testing import ProviderServer
from tests.in_process import main
from tests.recordings import made_up
from tests.steps import asked, llm, said
from tests.steps import tape as tape_of
from tests.support import AGENTS, DEMO_AGENT, contents, environment, rashomon

KILLS = 4
"""How often an export and an import are killed, in every run."""

FLIPS = 90


def home_of(folder: Path, *found: Tape) -> Path:
    """A home that holds these traces."""
    import_tapes(folder, [one._replace(trace=one.trace._replace(provenance={})) for one in found], "a test")
    return folder


def exported(home: Path, path: Path, *references: str, parents: bool = False) -> Path:
    """A bundle of these traces of a home, or of all."""
    store = open_home(home)
    found = [] if references else [row.id for row in store.traces()]
    export_bundle(store, home, chosen(store, references, found, parents), path)
    return path


def all_tapes(home: Path) -> dict[str, Tape]:
    """Each trace of a home by itself, without where it was imported from."""
    store = open_home(home)
    found = {row.id: store.tape(row.id, within=False) for row in store.traces()}
    return {own: tape._replace(trace=tape.trace._replace(provenance={})) for own, tape in found.items()}


def journals(home: Path) -> list[tuple[str, int, int]]:
    """What is among the journals of a home, and whether it was touched."""
    if not (home / "journals").exists():
        return []
    return sorted((path.name, path.stat().st_ino, path.stat().st_mtime_ns) for path in (home / "journals").iterdir())


def conversation(number: int, turns: int = 20, chance: random.Random | None = None) -> Tape:
    """One of many recordings of the same agent: a growing conversation, in which a few words differ."""
    chance = chance or random.Random(1)
    messages: list[dict[str, Any]] = []
    steps = []
    for turn in range(turns):
        words = " ".join(chance.choice(["refund", "order", "policy", "window", "days", "customer"]) for _ in range(150))
        messages.append({"role": "user", "content": f"{turn}: {words}"})
        steps.append(llm(said(f"answer {turn} of run {number}", number=turn), asked(*messages)))
        messages.append({"role": "assistant", "content": f"answer {turn} of run {number}"})
    found = tape_of(steps, f"{number:04d}" + "c" * 22)
    return found._replace(trace=found.trace._replace(name="talk", started_ns=10**18 + number))


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    """A provider for a child process."""
    with ProviderServer(seed=4) as running:
        yield running


# ------------------------------------------------------------------------------------------- as a user does


def test_an_imported_recording_replays_elsewhere(tmp_path: Path, server: ProviderServer) -> None:
    """Recorded here, exported, all of it deleted, imported in another folder: it replays exactly, and diffs as same."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    shutil.copyfile(DEMO_AGENT, here / "agent.py")
    shutil.copyfile(DEMO_AGENT, there / "moved.py")
    command = ["record", "--name", "refund", "--", sys.executable, "agent.py"]
    recorded = rashomon(*command, home=here / "home", cwd=here, env=server.environ())
    assert recorded.returncode == 0, recorded.stderr
    server.stop()
    done = main("export", "refund", "-o", tmp_path / "refund.rsh", home=here / "home")
    assert done.returncode == 0, done.stderr
    shutil.rmtree(here)
    home = there / "home"
    assert main("import", tmp_path / "refund.rsh", home=home).returncode == 0
    replayed = rashomon("replay", "refund", "--", sys.executable, "moved.py", home=home, cwd=there)
    assert replayed.returncode == 0, replayed.stderr
    assert replayed.stdout == recorded.stdout
    assert main("diff", "refund", "@last", home=home).returncode == 0
    again = exported(home, tmp_path / "again.rsh", "@last", parents=True)
    assert len(import_bundle(there / "third", again).new) == 2


PAYING = """
import os, rashomon

@rashomon.tool
def pay(card: str, note: str) -> str:
    return "paid with " + card

print(pay(os.environ["SHOP_TOKEN"], "x")[:4])
for card in os.environ.get("MORE", "").split():
    pay(card, "x")
"""


def test_secrets_of_two_homes_are_the_same_secret(tmp_path: Path) -> None:
    """A recording whose calls hold a secret replays in a home with another key, and with a key of one's own; a second
    secret in the same place is still another one; and the secret is in no file."""
    secret, own = "a-secret-of-the-recorder", "a-secret-of-the-importer"
    agent, home, other = tmp_path / "agent.py", tmp_path / "home", tmp_path / "other"
    agent.write_text(PAYING)
    done = rashomon("record", "--name", "pay", "--", sys.executable, agent, home=home, env={"SHOP_TOKEN": secret})
    assert done.returncode == 0, done.stderr
    import_bundle(other, exported(home, tmp_path / "b.rsh"))
    for token in (secret, own):
        held = rashomon("replay", "pay", "--quiet", home=other, env={"SHOP_TOKEN": token})
        assert held.returncode == 0, held.stderr
    more = {"SHOP_TOKEN": own, "MORE": "another-secret-of-theirs", "OTHER_TOKEN": "another-secret-of-theirs"}
    assert rashomon("replay", "pay", "--quiet", home=other, env=more).returncode == 1
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path != agent]
    assert not any(secret.encode() in content or own.encode() in content for content in written)


def test_what_a_program_recorded_within_a_trace_goes_along(tmp_path: Path) -> None:
    """Traces within traces keep their places: the whole reads the same in the other home, and replays there."""
    agent = AGENTS / "nested_agent.py"
    home, other = tmp_path / "home", tmp_path / "other"
    assert rashomon("record", "--name", "nested", "--", sys.executable, agent, home=home).returncode == 0
    done = main("export", "nested", "-o", tmp_path / "n.rsh", "--json", home=home)
    assert json.loads(done.stdout)["traces"] == 3
    assert main("import", tmp_path / "n.rsh", home=other).returncode == 0
    mine, theirs = open_home(home), open_home(other)
    assert contents(mine.tape(mine.resolve("nested"))) == contents(theirs.tape(theirs.resolve("nested")))
    assert rashomon("replay", "nested", "--quiet", home=other).returncode == 0


def test_the_commands_say_what_they_did(tmp_path: Path) -> None:
    """Text and JSON of both commands: counts, and that the second time nothing was new."""
    home, other = home_of(tmp_path / "home", conversation(1), conversation(2)), tmp_path / "other"
    path = tmp_path / "both.rsh"
    done = main("export", "--where", "name = 'talk'", "-o", path, home=home)
    assert f"{path}: 2 traces, 40 steps" in done.stdout
    first = json.loads(main("import", path, "--json", home=other).stdout)
    assert first["format"] == "rashomon.import/1"
    assert len(first["files"][0]["new"]) == 2
    assert "0 new traces, 2 there already" in main("import", path, home=other).stdout
    filtered = main("export", "--filter", "name:talk", "-o", path, "--json", home=home)
    assert json.loads(filtered.stdout)["traces"] == 2, filtered.stderr
    nobody = main("export", "--where", "false", "-o", tmp_path / "no.rsh", home=home)
    assert (nobody.returncode, (tmp_path / "no.rsh").exists()) == (2, False)
    none = main("export", "-o", path, home=home)
    assert (none.returncode, "nothing to export" in none.stderr) == (2, True)


def test_jsonl_has_a_line_for_each_step(tmp_path: Path) -> None:
    """Each line is a JSON document of its own with its trace, in order; it goes to a file or to stdout."""
    home = home_of(tmp_path / "home", conversation(1, turns=3))
    done = main("export", "@last", "-o", "-", "--format", "jsonl", home=home)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["step"]["index"] for line in lines] == [0, 1, 2]
    assert {line["format"] for line in lines} == {"rashomon.step_line/1"}
    assert lines[2]["trace"]["name"] == "talk"
    assert "answer 1 of run 1" in json.dumps(lines[2]["step"]["request"])
    main("export", "@last", "-o", tmp_path / "lines.jsonl", home=home)
    assert (tmp_path / "lines.jsonl").read_text() == done.stdout


def test_parquet_has_a_file_for_each_table_and_for_a_query(tmp_path: Path) -> None:
    """Any reader of Parquet finds traces, steps and parts; --sql writes the rows of one query, which cannot write."""
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    duckdb = pytest.importorskip("duckdb")
    home = home_of(tmp_path / "home", conversation(1), conversation(2))
    done = main("export", "--where", "true", "-o", tmp_path / "tables", "--format", "parquet", home=home)
    assert done.returncode == 0, done.stderr
    counted = f"SELECT (SELECT sum(steps) FROM '{tmp_path}/tables/traces.parquet'), count(*) "
    assert duckdb.sql(f"{counted} FROM '{tmp_path}/tables/steps.parquet'").fetchall() == [(40, 40)]
    query = "select name, count(*) as n from traces group by name"
    assert main("export", "--sql", query, "-o", tmp_path / "q.parquet", home=home).returncode == 0
    assert duckdb.sql(f"SELECT * FROM '{tmp_path}/q.parquet'").fetchall() == [("talk", 2)]
    for name in ("q.csv", "q.json", "q.rsh"):
        other = main("export", "--sql", query, "-o", tmp_path / name, home=home)
        assert (other.returncode, (tmp_path / name).exists()) == (2, False), "no Parquet under another's name"
    bad = main("export", "--sql", "drop table traces", "-o", tmp_path / "x.parquet", home=home)
    assert (bad.returncode, (tmp_path / "x.parquet").exists()) == (2, False)
    assert "Traceback" not in bad.stderr


# --------------------------------------------------------------------------------------- what comes out


@pytest.mark.parametrize("seed", range(6))
def test_whatever_was_recorded_comes_out_equal(tmp_path: Path, seed: int) -> None:
    """Made-up runs of several processes with traces within traces: every trace is equal in the other home."""
    print("seed", seed)
    home, other = tmp_path / "home", tmp_path / "other"
    made_up(random.Random(seed), 30).write(home / "journals")
    before = all_tapes(home)
    import_bundle(other, exported(home, tmp_path / "b.rsh"))
    assert all_tapes(other) == before


def test_ten_recordings_of_one_agent_are_small(tmp_path: Path) -> None:
    """Ten recordings of a conversation, in which each answer differs, are under twice the size of one."""
    found = [conversation(number, 40) for number in range(10)]
    home = home_of(tmp_path / "home", *found)
    one = exported(home, tmp_path / "one.rsh", found[0].trace.id).stat().st_size
    ten = exported(home, tmp_path / "ten.rsh").stat().st_size
    sent = sum(len(step.request.body) for tape in found for step in tape.steps)
    print(f"sent {sent:,}, one {one:,}, ten {ten:,}")
    assert ten < sent / 100
    assert ten < 4 * one


def test_the_same_export_is_the_same_file(tmp_path: Path) -> None:
    """A bundle says nothing of when it was made: exporting again gives the same bytes."""
    home = home_of(tmp_path / "home", conversation(1))
    first, second = exported(home, tmp_path / "1.rsh"), exported(home, tmp_path / "2.rsh")
    assert first.read_bytes() == second.read_bytes()


def test_an_import_says_where_a_trace_is_from(tmp_path: Path) -> None:
    """The trace knows from which file it came; the original facts stay."""
    home = home_of(tmp_path / "home", conversation(1))
    import_bundle(tmp_path / "other", exported(home, tmp_path / "talk.rsh"))
    store = open_home(tmp_path / "other")
    assert store.trace(store.resolve("@last")).provenance["imported"] == {"format": "bundle", "file": "talk.rsh"}


def test_notes_go_along_once(tmp_path: Path) -> None:
    """Notes on exported traces come with them, those on others do not; importing again adds none."""
    one, two = conversation(1), conversation(2)
    home, other = home_of(tmp_path / "home", one, two), tmp_path / "other"
    notes.write(home, Note("n1", one.trace.id, "0.0", 5, "ana", "the cause", ("root-cause",), {"score": 1}))
    notes.write(home, Note("n2", two.trace.id, None, 6, None, "elsewhere"))
    path = exported(home, tmp_path / "one.rsh", one.trace.id)
    assert import_bundle(other, path).notes == 1
    assert import_bundle(other, path).notes == 0
    (note,) = notes.read(other).notes
    assert note == notes.read(home).notes[0]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.booleans(),
    st.sampled_from([None, 0, 2]),
    st.integers(0, 400),
)
def test_segments_are_the_body(value: Any, ascii_only: bool, indent: int | None, cut: int) -> None:
    """A body cut into segments, JSON or not, whole or not, is the body when they are joined."""
    body = json.dumps({"messages": [value, value], "x": value}, ensure_ascii=ascii_only, indent=indent)
    encoded = body.encode("utf-8", "surrogatepass")
    for one in (encoded, encoded[:cut], encoded + b" rest"):
        assert b"".join(segments(one)) == one


# -------------------------------------------------------------------------------- again, and in conflict


def test_importing_again_touches_nothing(tmp_path: Path) -> None:
    """The same bundle a second time changes no file; a bundle with one new trace adds that one."""
    home, other = home_of(tmp_path / "home", conversation(1)), tmp_path / "other"
    path = exported(home, tmp_path / "b.rsh")
    import_bundle(other, path)
    before = journals(other)
    assert import_bundle(other, path) == Imported(same=(conversation(1).trace.id,))
    assert journals(other) == before
    import_tapes(home, [conversation(2)], "a test")
    assert import_bundle(other, exported(home, tmp_path / "b.rsh")).new == (conversation(2).trace.id,)
    assert import_bundle(home, path).new == ()


def test_another_content_under_the_same_id_is_refused(tmp_path: Path) -> None:
    """The file is refused whole with a sentence; told so, only that trace is left out, or both are kept."""
    other = home_of(tmp_path / "other", conversation(1))
    changed = conversation(1, turns=3)
    home = home_of(tmp_path / "home", changed, conversation(2))
    path = exported(home, tmp_path / "b.rsh")
    before = journals(other)
    with pytest.raises(UsageError, match=r"other contents for trace 0001c+, which .* has already.*--conflict skip"):
        import_bundle(other, path)
    assert journals(other) == before
    skipped = import_bundle(other, path, Conflict.SKIP)
    assert (skipped.new, skipped.left_out[0][0]) == ((conversation(2).trace.id,), changed.trace.id)
    copied = import_bundle(other, path, Conflict.COPY)
    ((_, name),) = copied.copies
    assert (len(all_tapes(other)[name].steps), len(all_tapes(other)[changed.trace.id].steps)) == (3, 20)
    again = import_bundle(other, path, Conflict.COPY)
    assert (again.new, again.copies) == ((), ())
    assert name in again.same


def test_the_command_refuses_a_conflict_with_exit_2(tmp_path: Path) -> None:
    """A conflict is bad input: exit 2, a sentence and what to do."""
    other = home_of(tmp_path / "other", conversation(1))
    path = exported(home_of(tmp_path / "home", conversation(1, turns=2)), tmp_path / "b.rsh")
    done = main("import", path, home=other)
    assert (done.returncode, "--conflict copy" in done.stderr, "Traceback" in done.stderr) == (2, True, False)


# ------------------------------------------------------------------------------------------------ damage


def test_every_flipped_byte_is_found_and_nothing_is_taken(tmp_path: Path) -> None:
    """Any byte changed, anywhere, or any cut: the import fails as damaged, and the home stays without journals."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    home = home_of(tmp_path / "home", conversation(1, 5), conversation(2, 5))
    whole = exported(home, tmp_path / "b.rsh").read_bytes()
    bad, other = tmp_path / "bad.rsh", tmp_path / "other"
    for trial in range(FLIPS):
        damaged = bytearray(whole)
        if trial % 3:
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        else:
            del damaged[chance.randrange(len(damaged)) :]
        bad.write_bytes(damaged)
        with pytest.raises(DamagedData) as caught:
            import_bundle(other, bad)
        assert "bad.rsh" in caught.value.problem
        assert journals(other) == []
    assert not list(other.glob("importing-*"))


@pytest.mark.parametrize("size", [1, 5, 8, 15])
def test_a_bundle_that_was_cut_off_early_is_one(size: int, tmp_path: Path) -> None:
    """What a download left of it is called a damaged bundle, and not a text that is no JSON."""
    whole = exported(home_of(tmp_path / "home", conversation(1)), tmp_path / "b.rsh").read_bytes()
    (tmp_path / "cut.rsh").write_bytes(whole[:size])
    done = main("import", tmp_path / "cut.rsh", home=tmp_path / "other")
    assert (done.returncode, "cut off" in done.stderr, "JSON" in done.stderr) == (4, True, False)


def test_salvage_takes_what_is_whole(tmp_path: Path) -> None:
    """Damaged by chance, a bundle still gives with --salvage the traces that are whole, each equal; never another."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    found = [conversation(number, 4, chance) for number in range(4)]
    home = home_of(tmp_path / "home", *found)
    whole, before = exported(home, tmp_path / "b.rsh").read_bytes(), all_tapes(home)
    for trial in range(8):
        damaged = bytearray(whole)
        at = chance.randrange(bundle.HEADER_SIZE, len(damaged))
        if trial == 0:  # in one trace: by chance it may be in what all share, each time
            at = damaged.rindex(b"TRAC") + bundle.MEMBER_SIZE + 9
        damaged[at] ^= 255
        if trial % 4 == 1:
            del damaged[chance.randrange(len(damaged) // 2, len(damaged)) :]
        bad, other = tmp_path / "bad.rsh", tmp_path / f"other{trial}"
        bad.write_bytes(damaged)
        done = import_bundle(other, bad, salvage=True)
        assert done.damaged
        got = all_tapes(other)
        assert got.items() <= before.items()
        assert trial or len(got) == len(found) - 1


def test_the_command_names_damage_with_exit_4(tmp_path: Path) -> None:
    """A changed byte: exit 4, the file and the place in one sentence; --salvage takes the rest, and still exits 4."""
    home = home_of(tmp_path / "home", conversation(1), conversation(2))
    path = exported(home, tmp_path / "b.rsh")
    damaged = bytearray(path.read_bytes())
    at = damaged.index(b"TRAC") + bundle.MEMBER_SIZE + 9
    damaged[at] ^= 4
    path.write_bytes(damaged)
    done = main("import", path, home=tmp_path / "other")
    assert done.returncode == 4
    assert "is damaged at byte" in done.stderr
    assert "trace number 0 does not have its digest" in done.stderr
    saved = main("import", path, "--salvage", home=tmp_path / "other")
    assert (saved.returncode, "1 new trace" in saved.stdout, "LEFT OUT" in saved.stdout) == (4, True, True)


def test_other_files_are_named(tmp_path: Path) -> None:
    """A file of somebody else, and one of a newer version, are each one sentence."""
    path = tmp_path / "b.rsh"
    path.write_bytes(b"PK\x03\x04 something else" * 9)
    with pytest.raises(ForeignFile, match="no bundle"):
        import_bundle(tmp_path / "other", path)
    home = home_of(tmp_path / "home", conversation(1, 2))
    content = bytearray(exported(home, path).read_bytes())
    struct.pack_into("<H", content, 8, 99)
    path.write_bytes(content)
    with pytest.raises(NewerFormat, match="bundle format 99"):
        import_bundle(tmp_path / "other", path)


# ------------------------------------------------------------------------------------------ hostile files


def member(kind: bytes, number: int, content: bytes, size: int | None = None, packed: bool = True) -> bytes:
    """A member with a digest that holds, whatever is in it."""
    stored = lzma.compress(content, lzma.FORMAT_XZ) if packed else content
    digest = blake2b(stored, digest_size=32).digest()
    start = struct.pack("<4sIQQ32sI", kind, number, len(stored), len(content) if size is None else size, digest, packed)
    return start + struct.pack("<I", zlib.crc32(start)) + stored


def hostile(path: Path, *members: bytes, index: dict[str, Any] | None = None) -> Path:
    """A bundle whose digests all hold."""
    start = struct.pack("<8sHHI", bundle.MAGIC, 1, 16, 0) + b"".join(members)
    whole = start + member(b"INDX", 0, json.dumps({"traces": []} if index is None else index).encode())
    trailer = struct.pack("<Q32s8s", len(start), blake2b(whole, digest_size=32).digest(), bundle.END_MAGIC)
    path.write_bytes(whole + trailer)
    return path


def frames_of(trace_id: Any, *more: list[Any]) -> bytes:
    """The frames of a small trace."""
    frames = [
        [Code.PROCESS, {"started_ns": 10**18, "pid": 0}],
        [Code.TRACE, 0, {"id": trace_id, "started_ns": 10**18, "processes": []}],
        *more,
    ]
    return b"".join(msgpack.packb(one) for one in frames)


HOSTILE_IDS = ["../../../evil", "/etc/evil", "a\0b", "x" * 5000, "", ".", "..", 7, None, "a\nb", "con", "\ud800"]


@pytest.mark.parametrize("trace_id", HOSTILE_IDS, ids=repr)
def test_no_id_leads_out_of_the_home(tmp_path: Path, trace_id: Any) -> None:
    """Whatever a trace is called, files appear in the folder of journals only, or the bundle is refused."""
    frames = msgpack.packb([Code.PROCESS, {"started_ns": 10**18, "pid": 0}]) + msgpack.packb(
        [Code.TRACE, 0, {"id": trace_id, "started_ns": 10**18, "processes": []}], unicode_errors="surrogatepass"
    )
    home = tmp_path / "deep" / "er" / "home"
    path = hostile(tmp_path / "h.rsh", member(b"TRAC", 0, frames))
    try:
        import_bundle(home, path)
    except DamagedData:
        assert journals(home) == []
    made = {str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*") if one.is_file()}
    assert all(name == "h.rsh" or name.startswith("deep/er/home/") for name in made)
    assert all(name.endswith(".rsj") for name, *_ in journals(home))


def test_what_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    """Bombs of each kind end in a sentence, without being written out: packed zeros, repeated parts, huge counts."""
    other = tmp_path / "other"
    zeros = member(b"TRAC", 0, bytes(64 << 20), size=10)
    many = msgpack.packb(list([0] * 60_000))
    call = [Code.CALL, 0, 0, "tool", "t", [], 0, None, {}, msgpack.ExtType(1, many)]
    part = member(b"PART", 0, msgpack.packb(b"x" * (1 << 20)))
    repeated = member(b"TRAC", 0, frames_of("bomb", *([call] * 50)))
    counted = member(b"TRAC", 0, b"\xdd\xff\xff\xff\xff" * 20)
    deep = member(b"TRAC", 0, b"\x91" * 100_000)
    block = member(b"PART", 0, b"\xdd\xff\xff\xff\xff") + member(b"TRAC", 0, frames_of("t", call))
    for name, members in {"zeros": [zeros], "repeated": [part, repeated], "counted": [counted], "deep": [deep],
                          "block": [block]}.items():  # fmt: skip
        path = hostile(tmp_path / f"{name}.rsh", *members, index={"traces": [{"size": 1000}]})
        with pytest.raises(DamagedData):
            import_bundle(other, path)
        assert journals(other) == [], name


def test_a_bundle_that_says_its_size_is_held_to_the_limit(tmp_path: Path) -> None:
    """What a bundle honestly unpacks to is bounded by --max-size, and the sentence says how to allow more."""
    path = exported(home_of(tmp_path / "home", conversation(1, 30)), tmp_path / "b.rsh")
    done = main("import", path, "--max-size", "100K", home=tmp_path / "other")
    said = f"rashomon: {path} unpacks to more than 100.0 kB. Allow more with --max-size.\n"
    assert (done.returncode, done.stderr) == (2, said), "a limit, and no damage"
    assert journals(tmp_path / "other") == []
    done = main("import", path, "--max-size", "1MB", home=tmp_path / "other")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "members",
    [
        [
            member(
                b"TRAC",
                0,
                frames_of("t", [Code.CALL, 0, 0, "tool", "t", [], 0, None, {}, msgpack.ExtType(1, b"\x91\x05")]),
            )
        ],
        [member(b"TRAC", 0, frames_of("t", [Code.CALL, 0, 0, "tool", "t", [], 0, None, {}, msgpack.ExtType(9, b"")]))],
        [member(b"TRAC", 0, frames_of("t", [Code.CALL, 0, 0, "no such kind", "t", [], 0, None, {}, b""]))],
        [member(b"TRAC", 0, b"\xc1")],
        [member(b"TRAC", 0, b"")],
        [member(b"TRAC", 0, frames_of("t")), member(b"TRAC", 1, frames_of("t"))],
        [member(b"TRAC", 0, frames_of("t", [Code.TRACE, 1, {"id": "second"}]))],
        [member(b"TRAC", 0, b"plain", packed=False)],
        [member(b"NOTE", 0, b"x" * 10, size=1 << 60), member(b"TRAC", 0, frames_of("t"))],
    ],
    ids=[
        "lost part",
        "unknown extension",
        "unknown kind",
        "no msgpack",
        "empty",
        "twice",
        "two in one",
        "text",
        "size",
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path: Path, members: list[bytes]) -> None:
    """Members whose digests hold and whose content cannot be: damaged data, and nothing is taken."""
    with pytest.raises(DamagedData) as caught:
        import_bundle(tmp_path / "other", hostile(tmp_path / "h.rsh", *members))
    assert "\n" not in str(caught.value)
    assert journals(tmp_path / "other") == []


# ------------------------------------------------------------------------------------------------ kill -9


@pytest.mark.slow
def test_killed_exports_and_imports_leave_nothing_half(tmp_path: Path) -> None:
    """Killed at random moments: a bundle is there whole or not at all, and so is each trace; a repetition completes."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    home = home_of(tmp_path / "home", *[conversation(number, 30) for number in range(6)])
    path, other = tmp_path / "b.rsh", tmp_path / "other"
    before, whole = all_tapes(home), exported(home, path).read_bytes()
    export = ["export", "--where", "true", "-o", str(path)]
    took = {"export": 1.5, "import": 1.5}
    killed = 0
    for trial in range(KILLS):
        path.unlink(missing_ok=True)
        killed += killed_at(export, home, chance.uniform(0.2, took["export"]))
        assert not path.exists() or path.read_bytes() == whole
        if trial % 2 == 1:
            assert main(*export, home=home).returncode == 0
            assert not list(tmp_path.glob(".b.rsh.*"))
            shutil.rmtree(other, ignore_errors=True)
        path.write_bytes(whole)
        killed += killed_at(["import", str(path)], other, chance.uniform(0.2, took["import"]))
        assert all_tapes(other).items() <= before.items()
    import_bundle(other, path)
    assert all_tapes(other) == before
    assert not list(other.glob("importing-*"))
    print(f"{killed} of {2 * KILLS} were killed in the middle")


def killed_at(arguments: list[str], home: Path, after_s: float) -> bool:
    """Run a command and kill it after so long; whether it was still running."""
    command = [sys.executable, "-m", "rashomon.cli", *arguments]
    process = subprocess.Popen(command, env=environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def test_tape_files_of_imports_are_read_as_any_journal(tmp_path: Path) -> None:
    """Bodies are written as what is new in each turn; a reader of journals gets them whole."""
    found = conversation(3, 30)
    home = home_of(tmp_path / "home", found)
    (path,) = (home / "journals").iterdir()
    assert path.stat().st_size < sum(len(step.request.body) for step in found.steps) / 4
    assert [step.request.body for step in tapes.only_tape(path).steps] == [step.request.body for step in found.steps]
