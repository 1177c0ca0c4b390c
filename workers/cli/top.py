"""`muster top`: what the fleet does, live."""

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli import output, times
from workers.cli.errors import WrongUsage
from workers.cli.options import Given
from workers.cli.topview import Latest, Order, View, lines, pressed

if TYPE_CHECKING:
    from rich.console import Console

    from workers.cli.overview import Overview
    from workers.settings import Loaded

_SOONEST = 0.5
"""Seconds between two looks at least: a look asks the broker five questions per role."""

_TICK = 1.0
"""Seconds after which a screen is drawn again though nothing is new: how long the bus is away."""


def top(
    ctx: typer.Context,
    every: Annotated[str, typer.Option(help="Look again after: 2s, 500ms, 1m.")] = "2s",
    once: Annotated[bool, typer.Option("--once", help="Look twice, show it, end.")] = False,
    sort: Annotated[Order, typer.Option(help="What the rows are sorted by.")] = Order.NAME,
    filter_: Annotated[str, typer.Option("--filter", help="Only roles and hosts with this.")] = "",
) -> None:
    """Show live what waits, runs, fails, and how fast; q ends it, s sorts, f filters.

    In a pipe it prints one view after the other, with --json a line for each look. Rates are the
    mean of the last 10 s; run and wait times are the upper bounds of p50 and p99.
    """
    given = Given.of(ctx)
    seconds = times.seconds(every, "--every")
    if seconds < _SOONEST:
        raise WrongUsage(
            f"--every cannot be {every!r}",
            details="each look costs the broker a few questions per role",
            actions=(f"give {_SOONEST:g}s or more",),
        )
    asyncio.run(_run(given, View(sort, filter_), seconds, once=once))


async def _run(given: Given, view: View, every: float, *, once: bool) -> None:
    from workers.cli.overview import Onlooker
    from workers.wiring import open_bus

    loaded = given.loaded()
    bus = await open_bus(loaded, source="/muster/top")
    try:
        async with Onlooker(bus).followed() as fleet:
            screen = _Screen(given, loaded, view, live=not (once or given.json))
            following = asyncio.create_task(_follow(fleet, screen, every, once=once))
            with _until_told(screen):
                await screen.show(following)
    finally:
        await bus.close()


async def _follow(fleet: Any, screen: "_Screen", every: float, *, once: bool) -> None:
    """Look again and again; `once` only until rates are known. Raises `BusError` of the first
    look: afterwards a bus that is away is shown and waited for."""
    from bus.errors import BusError

    number = 0
    while True:
        began = time.monotonic()
        try:
            async with asyncio.timeout(max(5.0, 3 * every)):
                found = await fleet.look()
        except (BusError, TimeoutError) as error:
            if number == 0 or once:
                raise
            screen.fail(str(error) or "no answer")
        else:
            number += 1
            if not once or number == 2:
                screen.tell(found)
        if once and number == 2:
            return
        await asyncio.sleep(max(0.0, every - (time.monotonic() - began)))


class _Screen:
    """Shows the latest: on a terminal in place, else one after the other."""

    def __init__(self, given: Given, loaded: "Loaded", view: View, *, live: bool) -> None:
        self._json = given.json
        self._in_place = live
        self._view = view
        self._title = f"muster {loaded.settings.fleet.name}"
        self._overview: Overview | None = None
        self._away, self._since = "", 0.0
        self._news = asyncio.Event()
        self._told = False
        self._ended = False

    def tell(self, overview: "Overview") -> None:
        """This is how things stand."""
        self._overview, self._away, self._told = overview, "", True
        self._news.set()

    def fail(self, why: str) -> None:
        """The bus did not answer."""
        if not self._away:
            self._since = time.time()
        self._away, self._told = why, True
        self._news.set()

    def press(self, key: str) -> None:
        """A key was pressed."""
        view = pressed(self._view, key)
        if view is None:
            self.end()
        else:
            self._view = view
        self._news.set()

    def end(self) -> None:
        """Show no more."""
        self._ended = True
        self._news.set()

    def redraw(self) -> None:
        """The terminal has another size."""
        self._news.set()

    async def show(self, following: "asyncio.Task[None]") -> None:
        """Show until `following` has ended or somebody ends it; raises what it raises."""
        console = output.console()
        following.add_done_callback(lambda _: self._news.set())
        try:
            if console.is_terminal and self._in_place:
                await self._live(console, following)
            else:
                await self._stream(console, following)
        finally:
            following.cancel()
            await asyncio.wait({following})
        if not following.cancelled():
            following.result()

    async def _live(self, console: "Console", following: "asyncio.Task[None]") -> None:
        from rich.live import Live

        from workers.cli.keyboard import keys

        with (
            Live(console=console, screen=True, auto_refresh=False) as live,
            keys(self.press),
        ):
            while not self._ended and not following.done():
                live.update(self._drawn(console), refresh=True)
                await self._wait(_TICK)

    async def _stream(self, console: "Console", following: "asyncio.Task[None]") -> None:
        while not self._ended and not (following.done() and not self._told):
            if self._told:
                self._told = False
                self._print(console)
            else:
                await self._wait(None)

    async def _wait(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()

    def _print(self, console: "Console") -> None:
        latest = self._latest()
        if self._json:
            shape = self._overview.as_json() if self._overview else {}
            away = {"why": self._away, "since": self._since} if self._away else None
            output.as_json_line({**shape, "away": away})
            return
        for line in lines(
            latest, self._view, width=console.width, height=10_000, title=self._title
        )[:-1]:
            output.say(line.plain)
        output.say("")

    def _drawn(self, console: "Console") -> Any:
        from rich.console import Group

        width, height = console.size
        return Group(
            *lines(self._latest(), self._view, width=width, height=height, title=self._title)
        )

    def _latest(self) -> Latest:
        return Latest(self._overview, time.time(), away=self._away, since=self._since)


@contextmanager
def _until_told(screen: _Screen) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal end it in good order; a new size is drawn at once."""
    loop = asyncio.get_running_loop()
    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in ends:
        loop.add_signal_handler(number, screen.end)
    loop.add_signal_handler(signal.SIGWINCH, screen.redraw)
    try:
        yield
    finally:
        for number in (*ends, signal.SIGWINCH):
            loop.remove_signal_handler(number)
