"""Places to run tasks; a run that waits for its children gives its place back."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

MOST_WAITING = 1000
"""Runs of one role in one process that may wait for their children at once: they cost memory."""


class Slots:
    """`size` places of one role in one process.

    A run that comes back from waiting goes before new ones. `changed` is set whenever a new run
    may have found a place, and `watchers` are called then. For one event loop.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.changed = asyncio.Event()
        self.watchers: list[Callable[[], None]] = []
        self._taken = 0
        self._waiting = 0
        self._returning: deque[asyncio.Future[None]] = deque()

    @property
    def taken(self) -> int:
        """Places in use."""
        return self._taken

    @property
    def waiting(self) -> int:
        """Runs that wait for their children, and hold no place."""
        return self._waiting

    @property
    def free(self) -> int:
        """Places for new runs; none while `MOST_WAITING` runs wait for their children."""
        if self._returning or self._waiting >= MOST_WAITING:
            return 0
        return max(0, self.size - self._taken)

    def resize(self, size: int) -> None:
        """From now on there are so many; who has one beyond keeps it. Runs that return are first
        to get what there is more."""
        self.size = size
        while self._returning and self._taken < self.size:
            future = self._returning.popleft()
            if not future.done():
                self._taken += 1
                future.set_result(None)
        self._tell()

    def take(self) -> "Place":
        """A place for a new run; ask `free` first."""
        self._taken += 1
        return Place(self)

    def lend(self) -> None:
        """A run begins to wait: its place goes to another."""
        self._waiting += 1
        self.give()

    def back(self) -> None:
        """A run that waited does so no longer."""
        self._waiting -= 1
        self._tell()

    def give(self) -> None:
        """A place goes to a run that returns, or is free."""
        while self._returning and self._taken <= self.size:
            future = self._returning.popleft()
            if not future.done():
                future.set_result(None)
                return
        self._taken -= 1
        self._tell()

    def force(self) -> None:
        """Take a place whether or not there is one: for a run that is ending."""
        self._taken += 1

    def _tell(self) -> None:
        self.changed.set()
        for watch in self.watchers:
            watch()

    async def take_again(self) -> None:
        """Take the next free place; one is taken even when this is cancelled."""
        if self._taken < self.size and not self._returning:
            self._taken += 1
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._returning.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.cancelled():
                self.force()
            raise


class Place:
    """The place of one run, which is lent while at least one call of the run waits."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._held = True
        self._left = False
        self._calls = 0
        self._coming: asyncio.Lock | None = None

    def leave(self) -> None:
        """The run has ended; whatever it still waits for takes no place again."""
        self._left = True
        if self._held:
            self._held = False
            self._slots.give()
        else:
            self._slots.back()

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[None]:
        """Lend the place for the length of the block; the last block to end waits for one again.

        A block that raises does not wait: the run is likely to end, and holds a place at once.
        """
        self._calls += 1
        if self._held:
            self._held = False
            self._slots.lend()
        try:
            yield
        except BaseException:
            self._calls -= 1
            if self._missing():
                self._slots.force()
                self._got()
            raise
        self._calls -= 1
        await self._come_back()

    async def _come_back(self) -> None:
        self._coming = self._coming or asyncio.Lock()
        async with self._coming:
            if not self._missing():
                return
            try:
                await self._slots.take_again()
            finally:
                self._got()

    def _missing(self) -> bool:
        """Whether the run goes on and has no place."""
        return not (self._held or self._left or self._calls)

    def _got(self) -> None:
        """There is a place: keep it unless it was found or lent again meanwhile."""
        if self._missing():
            self._held = True
            self._slots.back()
        else:
            self._slots.give()
