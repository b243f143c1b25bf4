"""What all screens share: a trail on top, keys below, work in the background, a word when it is too small."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.css.query import NoMatches
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer, Static
from textual.worker import Worker

from rashomon.errors import RashomonError
from rashomon.tui.spans import Line, Span, plain

if TYPE_CHECKING:
    from rashomon.tui.app import RashomonApp

MIN_WIDTH, MIN_HEIGHT = 60, 15
"""Below this size, in cells, a screen only says that it is too small."""

PATIENCE_S = 0.3
"""After so long, in seconds, a pane whose content is still being made says so."""

COPIED_S = 3
"""How long it is said that something was copied."""

T = TypeVar("T")


class Page(Screen[None]):
    """A screen of the application. Subclasses give the body and the trail."""

    class Done(Message):
        """Work in the background has ended, with a value or with an error."""

        def __init__(self, group: str, number: int, then: Callable[[Any], None], value: Any) -> None:
            super().__init__()
            self.group, self.number, self.then, self.value = group, number, then, value

    def __init__(self) -> None:
        self._generation: dict[str, int] = {}
        self._busy: set[str] = set()
        super().__init__()

    @property
    def rashomon(self) -> RashomonApp:
        """The application, with its source and its glyphs."""
        return cast("RashomonApp", self.app)

    def compose(self) -> ComposeResult:
        """Trail, body, footer, and the word for a window that is too small."""
        yield Static(id="trail", markup=False)
        yield from self.above()
        with Container(id="body"):
            yield from self.body()
        yield Footer(show_command_palette=False)
        yield Static(id="too-small", markup=False)

    def above(self) -> Iterable[Widget]:
        """Widgets between the trail and the body; none unless a screen has some."""
        return ()

    def body(self) -> Iterable[Widget]:
        """The widgets between trail and footer."""
        raise NotImplementedError

    def on_resize(self) -> None:
        """Say which size is needed; the style sheet decides when that is seen."""
        width, height = self.size
        text = f"terminal too small ({MIN_WIDTH}x{MIN_HEIGHT} needed, now {width}x{height})"
        self.query_one("#too-small", Static).update(text)
        self.call_after_refresh(self._keep_focus)

    def _keep_focus(self) -> None:
        """In a window that was too small nothing could have the focus: give it to the list again."""
        if self.focused is None and self.size.width >= MIN_WIDTH and self.size.height >= MIN_HEIGHT:
            self.query("#body Painted").first().focus()

    def trail(self, *parts: str) -> None:
        """Write where we are: the first parts are the way, the last one is what is said about it."""
        between = f" {self.rashomon.glyphs.cursor} "
        *way, told = parts
        path = between.join(plain(part) for part in ("rashomon", *way))
        text = Content.assemble((f" {path}", "bold"), (f"  {plain(told)}" if told else ""))
        self.query_one("#trail", Static).update(text)

    # ------------------------------------------------------------------------------------- background

    def in_background(
        self,
        group: str,
        work: Callable[[], T],
        then: Callable[[T], None],
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        """Do some work in a thread, then hand its result to `then` on this one.

        Of several in a group, only the last one counts. What fails goes to `failed`. `meanwhile` is called once
        when the result is long in coming, so that what stood there before is not taken for it.
        """
        number = self._generation[group] = self._generation.get(group, 0) + 1
        self._busy.add(group)
        working = partial(self._work, group, number, work, then)
        _: Worker[None] = self.run_worker(working, group=group, exclusive=True, exit_on_error=False)
        if meanwhile is not None:
            self.set_timer(PATIENCE_S, lambda: self._if_still(group, number, meanwhile))

    async def _work(self, group: str, number: int, work: Callable[[], T], then: Callable[[T], None]) -> None:
        value: T | Exception
        try:
            value = await self.rashomon.background.run(work)
        except Exception as error:  # a pane that fails must not end the application: shown there
            value = error
        self.post_message(self.Done(group, number, then, value))

    def _if_still(self, group: str, number: int, meanwhile: Callable[[], None]) -> None:
        if group in self._busy and number == self._generation.get(group):
            meanwhile()

    def on_page_done(self, event: Done) -> None:
        """Take a result, unless a newer question was asked since."""
        if event.number != self._generation.get(event.group):
            return
        self._busy.discard(event.group)
        try:
            if isinstance(event.value, Exception):
                self.failed(event.group, event.value)
            else:
                event.then(event.value)
        except NoMatches:  # the screen was closed in the meantime
            if self.is_attached and self.is_running:
                raise

    def failed(self, group: str, error: Exception) -> None:
        """Say what went wrong; the rest goes on."""
        self.notify(" ".join(told(error)), title="Not possible", severity="error", markup=False, timeout=10)

    # ------------------------------------------------------------------------------------------- keys

    def action_back(self, may_quit: bool) -> None:
        """Take back the zoom, else leave this screen; the last one only when quitting is meant."""
        if self.maximized is not None:
            self.minimize()
        elif self.rashomon.depth > 1:
            _ = self.app.pop_screen()
        elif may_quit:
            self.app.exit(0)

    def action_zoom(self) -> None:
        """Give the focused pane the whole window, or take it back."""
        if self.maximized is not None:
            self.minimize()
        elif self.focused is not None:
            self.maximize(self.focused, container=False)

    def action_help(self) -> None:
        """Show the keys."""
        from rashomon.tui.screens.help import HelpScreen

        _ = self.app.push_screen(HelpScreen())

    def copy(self, make: Callable[[], str], what: str) -> None:
        """Put a text into the terminal's clipboard, and say so. It is made in a thread: it may have megabytes."""
        from rashomon.measures import shown_size

        def encoded() -> bytes:  # a lone surrogate, which no terminal can be sent, as the escape that JSON has for it
            return make().encode("utf-8", "backslashreplace")

        def put(data: bytes) -> None:
            self.app.copy_to_clipboard(data.decode("utf-8"))
            told = f"Copied {what} ({shown_size(len(data))}) to the terminal's clipboard."
            self.notify(told, markup=False, timeout=COPIED_S)

        self.in_background("copy", encoded, put)

    def compare(self, trace_id: str, parent: str | None) -> None:
        """Open a trace aligned with the marked one, else with its parent; say what is missing for that."""
        marked = self.rashomon.marked
        other = marked if marked is not None and marked != trace_id else parent
        if other is None:
            self.notify(
                "There is nothing to compare this trace with. Mark another one with m in the list of traces.",
                markup=False,
            )
            return
        self.rashomon.open_diff(other, trace_id)


def told(error: Exception) -> tuple[str, str]:
    """An error as two sentences: what is wrong, and what to do."""
    if isinstance(error, RashomonError):
        return error.problem, error.remedy
    return f"{type(error).__name__}: {error}", "This is a bug of Rashomon; the other screens go on working."


def error_lines(error: Exception, sign: str) -> list[Line]:
    """An error in place of content."""
    problem, remedy = told(error)
    return [(), (Span(f"{sign} ", "bad"), Span(problem)), (Span(f"  {remedy}", "dim"),)]
