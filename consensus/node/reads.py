"""Reads that are not stale: each waits for its index, then for the state machine to be there."""

import asyncio
import heapq

from consensus.raft.core import Raft
from consensus.raft.errors import NotLeader
from consensus.raft.types import Index, Lost


class Reads:
    """Reads of one node by ReadIndex (Ongaro's dissertation, section 6.4)."""

    def __init__(self, core: Raft) -> None:
        self._core = core
        self._count = 0
        self._asked: dict[int, asyncio.Future[None]] = {}
        self._behind: list[tuple[Index, int, asyncio.Future[None]]] = []

    def ask(self) -> "asyncio.Future[None]":
        """Done when the state machine here has all that was committed when this was called;
        `NotLeader` where this node cannot know that. The turn after this call begins the read."""
        self._count += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked[self._count] = future
        self._core.read_index(self._count)
        return future

    def answer(self, applied: Index) -> None:
        """Take what the core has decided; the state machine is at `applied`."""
        for token, found in self._core.reads():
            future = self._asked.pop(token)
            if future.done():
                continue
            if isinstance(found, Lost):
                future.set_exception(NotLeader(found.leader))
            else:
                heapq.heappush(self._behind, (found, token, future))
        while self._behind and self._behind[0][0] <= applied:
            _, _, future = heapq.heappop(self._behind)
            if not future.done():
                future.set_result(None)

    def end(self) -> None:
        """Nothing is read any more."""
        for future in [*self._asked.values(), *(one[2] for one in self._behind)]:
            future.cancel()
