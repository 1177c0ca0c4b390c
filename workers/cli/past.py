"""What commands ask of the history database."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from workers.cli.errors import NotFound, NotRecordedYet
from workers.cli.options import Given

if TYPE_CHECKING:
    from knowledge.history.history import History
    from knowledge.history.records import Answer, Page, TaskRecord

T = TypeVar("T")

_PAGE = 1000
"""Rows that are asked for at once."""


class _Kept(Protocol):
    async def close(self) -> None: ...


K = TypeVar("K", bound=_Kept)


def with_kept(opened: Callable[[], Awaitable[K]], act: Callable[[K], Awaitable[T]]) -> T:
    """What `act` answers of what is opened for it, and closed."""

    async def run() -> T:
        kept = await opened()
        try:
            return await act(kept)
        finally:
            await kept.close()

    return asyncio.run(run())


async def first(
    page: "Callable[[str | None, int], Awaitable[Page[T]]]", limit: int
) -> tuple[list[T], bool]:
    """The first `limit` of what `page` gives after a place, and whether there are more."""
    found: list[T] = []
    after: str | None = None
    while len(found) < limit:
        got = await page(after, min(_PAGE, limit - len(found)))
        found += got.items
        after = got.after
        if after is None:
            return found, False
    return found, True


def with_history(given: Given, act: Callable[["History"], Awaitable[T]]) -> T:
    """What `act` answers of the history of this fleet."""
    from contracts.clock import SystemClock
    from workers.history.opening import open_history

    return with_kept(partial(open_history, given.loaded(), SystemClock()), act)


async def known(history: "History", task: str) -> "Answer[Sequence[TaskRecord]]":
    """The task in each of its roles. Raises `NotFound` if there is none, and `NotRecordedYet` where
    that is not known."""
    from knowledge.history.waiting import NoSuchTask, NotRecorded
    from workers.cli.times import clock_time

    looked = await history.look(task)
    if isinstance(looked, NoSuchTask):
        raise NotFound(
            f"there is no task {task!r}",
            details="nothing that was accepted and is still kept has this id, as of "
            + clock_time(looked.as_of),
            actions=("see the last ones: `muster task ls`",),
        )
    if isinstance(looked, NotRecorded):
        raise NotRecordedYet(
            f"the task {task!r} is not recorded, if there is one",
            details=_behind(looked.behind, looked.as_of),
            actions=("ask again soon", "see that a recorder runs: `muster ps`, `muster doctor`"),
        )
    return looked


def _behind(seconds: float, as_of: float) -> str:
    if not as_of:
        return "history has recorded nothing yet"
    return f"history is {seconds:.0f} s behind"
