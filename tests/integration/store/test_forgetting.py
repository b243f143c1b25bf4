"""A person's data goes for good, and a search of everything in the home shows it."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rashomon import notes
from rashomon.journal import Code
from rashomon.notes import Note
from rashomon.store import TraceStore, ingest_new
from rashomon.store.forgetting import choose, forget, prove
from rashomon.store.searching import spellings
from tests.faults.store_journals import frames, write_frames
from tests.in_process import main
from tests.integration.store.test_retention import interleaved, put

PERSON = 'Jürgen "J." Müller/ß'


def ids(home: Path) -> set[str]:
    """The traces that are there."""
    return {row.id for row in TraceStore(home / "store.duckdb").traces()}


def telling(home: Path, trace: str, request: bytes | None = None, answer: bytes | None = None, **info: Any) -> None:
    """A trace of which one step says this."""
    content = frames(trace, 3)
    content[1][2].update(info)
    call = next(item for item in content if item[0] == Code.CALL)
    piece = next(item for item in content if item[0] == Code.PIECE)
    if request is not None:
        call[9] = request
    if answer is not None:
        piece[3] = answer
    write_frames(home / "journals" / f"{trace}.rsj", content)


def everything(home: Path) -> None:
    """Traces that hold the person's name in every way that there is, and one that does not."""
    inner = json.dumps({"name": PERSON})
    nested = json.dumps({"messages": [{"role": "assistant", "tool_calls": [{"arguments": inner}]}]})
    telling(home, "plain-5f3a9c", answer=f"dear {PERSON}, hello".encode())
    telling(home, "escaped-5f3a9c", json.dumps({"messages": [{"role": "user", "content": PERSON}]}).encode())
    telling(home, "nested-5f3a9c", nested.encode())
    telling(home, "raw-json-5f3a9c", json.dumps({"a": [PERSON]}, ensure_ascii=False).encode())
    telling(home, "gzipped-5f3a9c", answer=gzip.compress(json.dumps({"who": PERSON}).encode()))
    telling(home, "tagged-5f3a9c", tags={"customer": PERSON})
    content = frames("url-5f3a9c0", 1)
    content[2][8]["url"] = "https://api.example.com/v1/users?name=J%C3%BCrgen%20%22J.%22%20M%C3%BCller%2F%C3%9F"
    write_frames(home / "journals" / "url.rsj", content)
    telling(home, "innocent-5f3a9c")


def test_a_text_is_found_in_every_spelling_and_gone_afterwards(tmp_path: Path) -> None:
    """Raw, escaped once and twice, in a URL, in a tag, in a compressed answer: whole traces go, the others stay."""
    everything(tmp_path)
    ingest_new(tmp_path)
    choice = choose(tmp_path, [], [PERSON])
    assert set(choice.traces) == {
        "plain-5f3a9c",
        "escaped-5f3a9c",
        "nested-5f3a9c",
        "raw-json-5f3a9c",
        "gzipped-5f3a9c",
        "tagged-5f3a9c",
        "url-5f3a9c0",
    }
    assert ids(tmp_path) > {"plain-5f3a9c"}, "choosing changes nothing"
    done = forget(tmp_path, choice, [PERSON])
    assert done.proof.found == ()
    assert ids(tmp_path) == {"innocent-5f3a9c"}
    needles = [spelling.encode() for spelling in spellings(PERSON)]
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert not any(needle in path.read_bytes() for needle in needles), path
    assert choose(tmp_path, [], [PERSON]).traces == {}


def test_the_proof_finds_what_is_left(tmp_path: Path) -> None:
    """A text in a file beside the store, in a journal's delta or in the store is named with its place."""
    write_frames(tmp_path / "journals" / "mixed.rsj", interleaved(8, "a", "b"))
    everything(tmp_path)
    ingest_new(tmp_path)
    (tmp_path / "config.toml").write_text(f"# ask {PERSON}\n")
    found = {(one.place, one.where) for one in prove(tmp_path, [], [PERSON]).found}
    assert ("config.toml", "offset 6") in found
    assert {("trace gzipped-5f3a9c", "in the store"), ("trace nested-5f3a9c", "in the store")} <= found
    assert {place for place, _ in found} >= {"journals/gzipped-5f3a9c.rsj", "journals/escaped-5f3a9c.rsj"}
    body = "turn 5 long ago"
    assert "journals/mixed.rsj" in {one.place for one in prove(tmp_path, [], [body]).found}


def test_replays_and_inner_traces_go_with_it(tmp_path: Path) -> None:
    """Whoever forgets a recording forgets its replays and what is within it, and is told why."""
    put(tmp_path, "recording", days=1)
    put(tmp_path, "replay", days=2, parent="recording")
    put(tmp_path, "inside", days=2, within="replay")
    put(tmp_path, "other", days=3)
    ingest_new(tmp_path)
    choice = choose(tmp_path, ["recording"])
    assert choice.traces == {
        "recording": "chosen",
        "replay": "replay of recording",
        "inside": "within replay",
    }
    assert forget(tmp_path, choice).proof.holds
    assert ids(tmp_path) == {"other"}


def test_one_trace_of_a_journal_goes_and_nothing_of_it_is_left(tmp_path: Path) -> None:
    """A journal that tells of several traces is rewritten, and its bytes hold no id of the forgotten one."""
    write_frames(tmp_path / "journals" / "mixed.rsj", interleaved(40, "trace-anna", "trace-bert"))
    ingest_new(tmp_path)
    done = forget(tmp_path, choose(tmp_path, ["trace-anna"]))
    assert done.proof.holds
    assert b"trace-anna" not in (tmp_path / "journals" / "mixed.rsj").read_bytes()
    assert len(TraceStore(tmp_path / "store.duckdb").tape("trace-bert").steps) == 20


def test_notes_that_hold_the_text_go(tmp_path: Path) -> None:
    """A note on another trace that names the person goes; other notes stay."""
    put(tmp_path, "other", days=0)
    ingest_new(tmp_path)
    notes.write(tmp_path, Note("n1", "other", None, 1, "me", f"ask {PERSON}", ()))
    notes.write(tmp_path, Note("n2", "other", None, 2, "me", "all good", ()))
    choice = choose(tmp_path, [], [PERSON])
    assert (choice.notes, ids(tmp_path)) == (1, {"other"})
    done = forget(tmp_path, choice, [PERSON])
    assert (done.notes, done.proof.found) == (1, ())
    assert [note.id for note in notes.read(tmp_path).notes] == ["n2"]


def test_a_trace_is_not_forgotten_for_a_note_on_it(tmp_path: Path) -> None:
    """The note with the text goes, from the table as well, and the trace that it is on stays."""
    put(tmp_path, "other", days=0)
    main("note", "other", f"ask {PERSON}", home=tmp_path)
    main("note", "other", "all good", home=tmp_path)
    listed = main("sql", "select text from annotations", "--format", "csv", home=tmp_path).stdout
    assert PERSON.replace('"', '""') in listed, "the table has it"
    planned = main("forget", "--text", PERSON, home=tmp_path)
    assert "0 traces would be forgotten.\n1 note with the text would go." in planned.stdout
    done = main("forget", "--text", PERSON, "--yes", home=tmp_path)
    assert done.returncode == 0, done.stdout
    assert ids(tmp_path) == {"other"}
    assert [note.text for note in notes.read(tmp_path).notes] == ["all good"]
    assert TraceStore(tmp_path / "store.duckdb").query("SELECT text FROM annotations").rows == [("all good",)]


def test_a_copy_of_a_forgotten_journal_is_not_taken_in_again(tmp_path: Path) -> None:
    """What was forgotten stays forgotten when its journal is copied back; the copy is named and goes with the next."""
    path = put(tmp_path, "gone", days=0)
    put(tmp_path, "other", days=0)
    shutil.copyfile(path, tmp_path.parent / "copy.rsj")
    ingest_new(tmp_path)
    forget(tmp_path, choose(tmp_path, ["gone"]))
    shutil.copyfile(tmp_path.parent / "copy.rsj", path)
    ingest_new(tmp_path)
    assert ids(tmp_path) == {"other"}
    told = main("verify", home=tmp_path)
    assert told.returncode == 4
    assert "gone.rsj: trace gone: was forgotten" in told.stdout
    forget(tmp_path, choose(tmp_path, []))
    assert not path.exists()
    assert "gone" not in (tmp_path / "forgotten.txt").read_text()


def test_the_command_tells_and_proves(tmp_path: Path) -> None:
    """`rashomon forget` says what would go, does it with `--yes`, proves it, and exits 4 when something stays."""
    everything(tmp_path)
    put(tmp_path, "of-anna", days=0, tags={"user": "anna"})
    said = main("forget", "--text", PERSON, "--tag", "user=anna", home=tmp_path)
    assert said.returncode == 0, said.stderr
    assert "8 traces would be forgotten" in said.stdout
    assert "of-anna: chosen" in said.stdout
    (tmp_path / "left.txt").write_text(PERSON)
    done = main("forget", "--text", PERSON, "--tag", "user=anna", "--yes", "--json", home=tmp_path)
    assert done.returncode == 4, done.stderr
    document = json.loads(done.stdout)
    assert len(document["removed"]) == 8
    assert document["proof"]["found"] == [{"place": "left.txt", "where": "offset 0"}]
    (tmp_path / "left.txt").unlink()
    again = main("forget", "--text", PERSON, "--yes", home=tmp_path)
    assert again.returncode == 0
    assert "nothing found" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "Nothing says what is to be forgotten"),
        (["--text", "ab"], "'ab' is too short"),
        (["--tag", "anna"], "'anna' is no tag"),
        (["--trace", "nobody"], "nobody"),
        (["--where", "colour = 1"], "colour"),
        (["--filter", ""], "would choose every trace"),
        (["--where", " "], "would choose every trace"),
    ],
)
def test_bad_arguments_forget_nothing(tmp_path: Path, arguments: list[str], problem: str) -> None:
    """What cannot be understood is one sentence, and nothing is touched."""
    put(tmp_path, "t", days=0)
    done = main("forget", *arguments, "--yes", home=tmp_path)
    assert done.returncode == 2
    assert problem in done.stderr
    assert (tmp_path / "journals" / "t.rsj").exists()
