"""The words of Rashomon as values: traces, steps, requests, responses. Nothing here does anything.

Values are named tuples, not dataclasses: this module is imported into production processes, where
`dataclasses` alone would cost a third of the start-up budget and a frozen instance five times a tuple.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

Json = None | bool | int | float | str | list[Any] | dict[str, Any]
Lane = tuple[int, ...]
"""One line of control, named by how it was spawned: `()`, `(0,)`, `(0, 2)`."""

Head = dict[str, Any]
"""What stands around a body. HTTP request: method, url, headers ([[name, value], ...]).
HTTP response: status, headers, extensions. Tool: ref (`module:qualname`), flavour."""


STDIN = "RASHOMON_STDIN"
"""In the environment of a trace: what the program's stdin was. A recording that lacks it has kept nothing of what was
read there. In that of a launched program also which file it is, by which a child knows whether it has the same."""


class Kind(StrEnum):
    """What a step talked to."""

    LLM = "llm"
    TOOL = "tool"
    HTTP = "http"
    MCP = "mcp"
    CLOCK = "clock"
    RANDOM = "random"
    SLEEP = "sleep"
    NOTE = "note"


class End(StrEnum):
    """How an answer ended; `OPEN` is what a killed process leaves behind."""

    COMPLETE = "complete"
    CLOSED = "closed"
    CANCELLED = "cancelled"
    ERROR = "error"
    LEAKED = "leaked"
    OPEN = "open"


class Grade(StrEnum):
    """How a call of a replay found its answer."""

    EXACT = "exact"
    EXPLAINED = "explained"
    DRIFTED = "drifted"
    STUBBED = "stubbed"
    LIVE = "live"
    MISSED = "missed"


class Request(NamedTuple):
    """What went out: a head and exact body bytes (tools: `rashomon.values` encoding of the arguments)."""

    head: Head
    body: bytes


class Piece(NamedTuple):
    """One chunk of an answer, and when it came: microseconds since the call arrived."""

    offset_us: int
    data: bytes


class Failure(NamedTuple):
    """An exception that crossed the boundary: `module:Qualname`, its text, and encoded args and state."""

    type: str
    message: str
    values: bytes = b""


class Response(NamedTuple):
    """What came back. `head` is None when the call failed before anything came back."""

    head: Head | None
    pieces: tuple[Piece, ...]
    end: End
    failure: Failure | None = None
    duration_us: int = 0

    @property
    def body(self) -> bytes:
        """All pieces joined, in wire encoding."""
        return b"".join([piece.data for piece in self.pieces])


class Match(NamedTuple):
    """How a step of a replay was answered: the grade, and the `Step.id` it was served from, if any."""

    grade: Grade
    recorded: str | None = None
    detail: str = ""


class Call(NamedTuple):
    """A call about to cross the boundary."""

    kind: Kind
    name: str
    request: Request


OVERTAKEN = "overtaken"
"""The mark of a step whose caller was cancelled in the turn of its event loop in which the failure came, or the last
piece."""
OVERTAKEN_AT_END = "overtaken-at-end"
"""The same in the turn in which it would have learned that nothing more comes."""


class Step(NamedTuple):
    """One call that crossed the boundary, whole.

    `id` is `<process>.<arrival>` and unique in its trace; `index` is its place in the trace's own
    order (by start); `started_us` counts from the trace's start. `within` is the id of the tool step
    that made this call, if one did. `marks` lists what is unusual: `no-lane`, `overtaken`,
    `damaged-request`.
    """

    id: str
    index: int  # type: ignore[assignment]  # a field, and not tuple.index
    kind: Kind
    name: str
    lane: Lane
    started_us: int
    request: Request
    response: Response
    match: Match | None = None
    within: str | None = None
    marks: tuple[str, ...] = ()


class Coverage(NamedTuple):
    """Connections opened against calls recorded. `missed` names peers reached outside any recorded call."""

    connections: int = 0
    missed: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """True when nothing is known to have slipped past the recorder."""
        return not self.missed


class Loss(NamedTuple):
    """Something that should have been recorded and was not: why, and how many steps."""

    reason: str
    steps: int


class Divergence(NamedTuple):
    """Where a replay stopped being the recording: a sentence, the step pair, and reasons line by line.

    `step` is the id in the replay, `recorded` the nearest step of the recording, `paths` the JSON
    paths that differ (`request.messages[0].content`).
    """

    kind: str
    summary: str
    step: str | None = None
    recorded: str | None = None
    paths: tuple[str, ...] = ()
    detail: tuple[str, ...] = ()


class Site(NamedTuple):
    """A place in the program's source: the file's path, the line, and the function's qualified name."""

    file: str
    line: int
    function: str


class Read(NamedTuple):
    """One value that the program's own code took from its surroundings.

    `kind` is `clock`, `random`, `sleep` or `process`; `what` names the function (`time.time`). `value` is what it
    gave, in the form of that function's player (`docs/formats/journal.md`). `at_us` counts from the trace's start.
    Of kind `output` it is no value that was taken, but digests of what was printed.
    """

    process: int
    lane: Lane
    kind: str
    what: str
    value: Any
    site: Site
    at_us: int
    within: str | None = None


class Event(StrEnum):
    """What a `Point` is the completion of. `BEGIN` is none: it says where the loop was when the trace began, and
    its number how many loops the process had had by then."""

    BEGIN = "begin"
    HEAD = "head"
    PIECE = "piece"
    END = "end"
    CLOSE = "close"
    TIMER = "timer"
    WAKE = "wake"
    SLEEP = "sleep"


class Point(NamedTuple):
    """One completion, as a process saw it. A tape holds them in the order in which they happened.

    Of an answer's head, a piece, its end, or the closing of its stream: `step` is the step's id and `number` the
    piece. Of a timer, a wake-up of an event loop by another thread, or a blocking sleep: `lane` is where it was
    started and `number` counts those of that lane. `loop` numbers the event loops of the process, and `epoch` and
    `tick` say when in its life the loop handed it out; all three are -1 where no such loop is known. A blocking call in
    a loop's own thread has `-2 - loop`. A `close` without a step is a client's. `delay_us` is how long a timer was to
    run.
    """

    process: int
    event: Event
    step: str | None
    lane: Lane
    number: int
    loop: int
    epoch: int
    tick: int
    at_us: int
    within: str | None = None
    delay_us: int = 0


class Launched(NamedTuple):
    """A subprocess that the program started: its arguments, from which lane, and where in the source."""

    argv: tuple[str, ...]
    lane: Lane
    site: Site | None = None
    within: str | None = None


class Uncontrolled(NamedTuple):
    """A source of nondeterminism that a replay cannot control: what it is, why, and where the program used it."""

    what: str
    reason: str
    site: Site | None = None


class Process(NamedTuple):
    """One recorded process of a trace. `ended` is False when it was killed or is still running.

    `epoch_ns` is the Unix time and `monotonic_ns` the monotonic clock at which its journal began.
    """

    number: int
    pid: int
    argv: tuple[str, ...]
    python: str
    ended: bool
    lane: Lane = ()
    epoch_ns: int = 0
    monotonic_ns: int = 0


class Trace(NamedTuple):
    """One recorded execution without its steps. Times are Unix nanoseconds; `ended_ns` None: open.

    `within` names the enclosing trace; `parent` the trace that this one replays; `swaps` what was
    changed. `command` is how it can be launched again, `entrypoint` the recorded function
    (`{"ref", "file", "args"}`, args in `rashomon.values` encoding). `environ` holds chosen variables.
    `outcome` is `ok`, `error`, `killed` or `open`. `provenance` tells where it is from: `git` (`commit`, `branch`,
    `dirty`) of the program, and of a trace that was not recorded here `imported` (`format`, `file`, and `lacks`, the
    list of what a replay would need and it does not have).
    """

    id: str
    name: str
    started_ns: int
    ended_ns: int | None = None
    outcome: str = "open"
    exit_code: int | None = None
    error: str | None = None
    tags: dict[str, str] = {}
    parent: str | None = None
    within: str | None = None
    swaps: tuple[dict[str, Any], ...] = ()
    command: tuple[str, ...] | None = None
    entrypoint: dict[str, Any] | None = None
    cwd: str | None = None
    environ: dict[str, str] = {}
    versions: dict[str, str] = {}
    processes: tuple[Process, ...] = ()
    coverage: Coverage = Coverage()
    losses: tuple[Loss, ...] = ()
    divergences: tuple[Divergence, ...] = ()
    result: bytes | None = None
    uncontrolled: tuple[Uncontrolled, ...] = ()
    launched: tuple[Launched, ...] = ()
    provenance: dict[str, Any] = {}

    @property
    def imported(self) -> bool:
        """True where another tool recorded it, and something is lacking that a recording has."""
        imported = self.provenance.get("imported")
        return isinstance(imported, dict) and bool(imported.get("lacks"))


class Tape(NamedTuple):
    """A recorded trace as replay, diff and the TUI see it: the trace, all its steps in order, what the program read
    from its surroundings, and the order in which completions reached it."""

    trace: Trace
    steps: tuple[Step, ...]
    reads: tuple[Read, ...] = ()
    points: tuple[Point, ...] = ()
