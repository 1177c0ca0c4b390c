"""Doing one thing to many, so that it can be watched, slowed down and stopped."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from contracts.errors import MusterError
from workers.cli import output

if TYPE_CHECKING:
    from contracts.limits import Rate

T = TypeVar("T")

_AT_ONCE = 16
"""How many are under way without a rate: the broker writes what comes together at once."""

_LONG = 20
"""From so many on a bar is worth its place."""


@dataclass(slots=True)
class Tally:
    """How far it got. `stopped`: Ctrl-C was pressed; nothing was begun after that."""

    whole: int
    done: int = 0
    refused: int = 0
    stopped: bool = False

    @property
    def left(self) -> int:
        """What was not begun."""
        return self.whole - self.done - self.refused


class Bulk(Generic[T]):
    """Does `act` with each item. One that is refused does not stop the others; an error of the
    classes `fatal` does, and is raised once what was under way has ended. `told` is called after
    each, with the error of one that was refused."""

    def __init__(
        self,
        items: Sequence[T],
        act: Callable[[T], Awaitable[object]],
        told: Callable[[T, MusterError | None], None],
        *,
        fatal: tuple[type[MusterError], ...],
        rate: "Rate | None" = None,
    ) -> None:
        self.tally = Tally(len(items))
        self._left = iter(items)
        self._act = act
        self._told = told
        self._fatal = fatal
        self._interval = rate.interval if rate else 0.0
        self._workers = min(len(items), 1 if rate else _AT_ONCE)
        self._stop = asyncio.Event()
        self._error: MusterError | None = None

    async def run(self) -> Tally:
        """Do it all, or as far as it gets; Ctrl-C lets what is under way end. Call it once."""
        with _on_interrupt(self._interrupt):
            await asyncio.gather(*(self._work() for _ in range(self._workers)))
        if self._error is not None:
            raise self._error
        return self.tally

    def _interrupt(self) -> None:
        self.tally.stopped = True
        self._stop.set()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        next_ = loop.time()
        for item in self._left:
            await self._pause(next_ - loop.time())
            if self._stop.is_set():
                return
            next_ = max(next_, loop.time() - self._interval) + self._interval
            await self._do(item)

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._stop.wait()

    async def _do(self, item: T) -> None:
        try:
            await self._act(item)
        except MusterError as error:
            if isinstance(error, self._fatal):
                self._error = self._error or error
                self._stop.set()
                return
            self.tally.refused += 1
            self._told(item, error)
        else:
            self.tally.done += 1
            self._told(item, None)


@contextmanager
def _on_interrupt(then: Callable[[], None]) -> Iterator[None]:
    """Call `then` at the first Ctrl-C; the second is as it always was."""
    loop = asyncio.get_running_loop()

    def first() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        output.note("ending: what is under way is finished (once more: at once)")
        then()

    loop.add_signal_handler(signal.SIGINT, first)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


@contextmanager
def bar(what: str, whole: int) -> Iterator[Callable[[], None] | None]:
    """A progress bar on a terminal for many, and how to move it on by one; else None."""
    from rich.progress import MofNCompleteColumn, Progress

    console = output.console(errors=True)
    if not console.is_terminal or whole < _LONG:
        yield None
        return
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task(what, total=whole)
        yield lambda: shown.advance(task)
