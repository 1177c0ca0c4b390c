"""Places to run tasks; a run that waits for its children gives its place back."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Slots:
    """`size` places of one role in one process.

    A run that comes back from waiting goes before new ones. `changed` is set whenever a place
    becomes free. For one event loop.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.changed = asyncio.Event()
        self._taken = 0
        self._parked = 0
        self._returning: deque[asyncio.Future[None]] = deque()

    @property
    def free(self) -> int:
        """Places for new runs; none while ten times as many runs wait for their children."""
        if self._returning or self._parked >= 10 * self.size:
            return 0
        return max(0, self.size - self._taken)

    def take(self) -> None:
        """A new run takes a place; ask `free` first."""
        self._taken += 1

    def give(self) -> None:
        """A run has ended, or waits: its place goes to one that returns, or is free."""
        while self._returning and self._taken <= self.size:
            future = self._returning.popleft()
            if not future.done():
                future.set_result(None)
                return
        self._taken -= 1
        self.changed.set()

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[None]:
        """Give the place back for the length of the block, then wait for one again.

        The caller holds a place again afterwards; a block that raises does not wait for it.
        """
        self._parked += 1
        self.give()
        try:
            yield
        except BaseException:
            self._taken += 1
            raise
        else:
            await self._take_again()
        finally:
            self._parked -= 1

    async def _take_again(self) -> None:
        if self._taken < self.size and not self._returning:
            self._taken += 1
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._returning.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.cancelled():
                self._taken += 1
            raise
