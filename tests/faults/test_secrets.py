"""No secret is on the disk: every byte written under the home is searched for what was planted."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import rashomon
from rashomon import session
from rashomon.model import Tape
from tests.support import rashomon as command_line

ENV = {
    "OPENAI_API_KEY": "sk-proj-PLANTEDopenai0123456789abcdef",
    "ACME_DB_PASSWORD": 'PLANTED"quote\\and-slash',
    "SERVICE_TOKEN": "PLANTED-service-token-ümlaut",
    "DEPLOY_SECRET": "PLANTEDdeploysecretvalue",
}
SHAPES = {
    "aws": "AKIAPLANTED012345678",
    "github": "ghp_PLANTED0123456789012345678901234567",
    "slack": "xoxb-PLANTED-0123456789",
    "google": "AIzaPLANTED0123456789abcdefghijklmnopqr",
    "jwt": "eyJhbGciOiJIUzI1NiJ9PLANTED.eyJzdWIiOiIxMjM0NTY3ODkwIn0.PLANTEDsignature",
    "bearer": "Bearer PLANTEDbearertoken0123456789",
}
FIELDS = {"password": "PLANTED-in-a-field", "access_token": "PLANTED;other", "api_key": "PLANTED field three"}


def everything(home: Path) -> bytes:
    """All bytes of all files of the home."""
    return b"\0".join(path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file())


@pytest.fixture
def planted(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home under an environment with secrets."""
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    return home


class Wire(httpx2.BaseTransport):
    """Answers with everything planted, whole, or cut at every place into pieces."""

    def __init__(self, size: int) -> None:
        self.size = size

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        body = json.dumps({"echo": list(ENV.values()) + list(SHAPES.values()), **FIELDS, "n": 12345678}).encode()
        pieces = [body[start : start + self.size] for start in range(0, len(body), self.size)]

        class Pieces(httpx2.SyncByteStream):
            def __iter__(self) -> Iterator[bytes]:
                yield from pieces

        headers = {"set-cookie": "session=PLANTEDcookie; HttpOnly", "content-type": "application/json"}
        return httpx2.Response(200, headers=headers, stream=Pieces())


@rashomon.tool
def login(password: str, tokens: dict[str, Any]) -> dict[str, Any]:
    """A tool that is told secrets and tells some."""
    if password == "wrong":
        raise PermissionError(f"{ENV['DEPLOY_SECRET']} is not accepted", SHAPES["aws"])
    return {"access_token": "PLANTED;other", "note": f"key {SHAPES['github']}", "blob": ENV["SERVICE_TOKEN"].encode()}


def agent(size: int) -> list[Any]:
    """Everything that can carry a secret."""
    client = httpx2.Client(transport=Wire(size), cookies={"sid": "PLANTEDcookie"})
    headers = {
        "authorization": f"Bearer {ENV['OPENAI_API_KEY']}",
        "x-api-key": "PLANTEDheaderkey",
        "x-acme-token": "PLANTEDheadertoken",
    }
    body = {"messages": [{"role": "user", "content": " ".join((*ENV.values(), *SHAPES.values()))}], **FIELDS}
    url = "http://user:PLANTEDpass@provider/v1/chat/completions?api_key=PLANTEDquery&n=1"
    answers: list[Any] = [client.post(url, headers=headers, json=body).json() for _ in range(3)]
    answers.append(login("PLANTEDargument", {"list": [SHAPES["slack"], FIELDS], "api_key": "PLANTED field three"}))
    try:
        login("wrong", {})
    except PermissionError as error:
        answers.append(error.args)
    return answers


@pytest.mark.parametrize("size", [1 << 20, 200, 64, 17, 5, 1])
def test_nothing_planted_is_on_the_disk(size: int, planted: Path) -> None:
    """Bodies, streams cut anywhere, headers, URLs, cookies, tools, exceptions, tags: none of it is written."""
    with rashomon.trace(f"planted {SHAPES['github']}", tags={"password": "PLANTEDtag", "k": ENV["OPENAI_API_KEY"]}):
        answers = agent(size)
    session.close_journal()
    assert "PLANTED" in json.dumps(answers[0]), "the program itself sees everything"
    written = everything(planted)
    assert len(written) > 3000
    found = written.find(b"PLANTED")
    assert found < 0, written[max(0, found - 80) : found + 60]
    for value in (*ENV.values(), *SHAPES.values()):
        assert base64.b64encode(value.encode()) not in written


def test_bodies_stay_what_they_are(planted: Path) -> None:
    """The recorded body is JSON with the same keys in the same order, and its numbers are numbers."""
    with rashomon.trace("planted"):
        agent(64)
    from tests.support import tapes_of

    tape = tapes_of(planted)[-1]
    answer, asked = json.loads(tape.steps[0].response.body), json.loads(tape.steps[0].request.body)
    assert list(answer) == ["echo", *FIELDS, "n"]
    assert answer["n"] == 12345678
    assert list(asked) == ["messages", *FIELDS]


def test_a_replay_matches_through_the_redaction(planted: Path) -> None:
    """The replayed program sends the real secrets and still finds its answers."""
    from tests.support import tapes_of

    with rashomon.trace("planted"):
        agent(64)
    with rashomon.replay(tapes_of(planted)[-1]) as replaying:
        agent(64)
    replaying.check()
    session.close_journal()
    assert b"PLANTED" not in everything(planted)


def test_addresses_in_what_tools_raise_and_return(planted: Path, last_tape: Callable[[], Tape]) -> None:
    """Errors of clients quote the address that was asked, and hold the request: nothing secret of either is kept."""
    address = "https://shop.invalid/x?api_key=PLANTEDquery0001&page=2"

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(404, headers={"set-cookie": "session=PLANTEDcookie01; Path=/"}, text="gone")

    @rashomon.tool
    def fetch() -> str:
        with httpx2.Client(transport=httpx2.MockTransport(answer)) as client:
            client.get(address, headers={"authorization": "PLANTEDheader01"}).raise_for_status()
        return "never"

    @rashomon.tool
    def link() -> list[str]:
        return [f"see <{address}>", "sort(key=len)?key=short"]

    def program() -> list[object]:
        try:
            fetch()
        except httpx2.HTTPStatusError as error:
            return [error.response.status_code, error.response.text, error.request.url.params["page"], *link()]
        return []

    with rashomon.trace("addresses"):
        recorded = program()
    assert b"PLANTED" not in everything(planted)
    with rashomon.replay(last_tape()) as replaying:
        replayed = program()
    replaying.check()
    assert recorded[:3] == replayed[:3] == [404, "gone", "2"]
    assert replayed[4] == recorded[4]


def test_command_lines(tmp_path: Path) -> None:
    """A key on the command line, and what an uncaught exception says, are not written either."""
    import sys

    program = "import sys; raise RuntimeError('bad key ' + sys.argv[1])"
    done = command_line("record", "--tag", f"k={SHAPES['aws']}", "--", sys.executable, "-c", program,
                        "sk-PLANTED0123456789abcdef", home=tmp_path, cwd=tmp_path)  # fmt: skip
    assert done.returncode == 1
    assert b"PLANTED" not in everything(tmp_path)
