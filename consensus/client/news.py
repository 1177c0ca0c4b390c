"""What a bidder is told, over all connections to all leaders."""

import asyncio
from collections.abc import AsyncIterator, Callable

from consensus.service.replies import decode_push
from consensus.service.requests import EndWanted, NewsWanted, encode_wanted
from consensus.transport.connection import Connection
from consensus.transport.errors import Lost
from consensus.wire.errors import Unreadable
from contracts.auctions import Auction, Opening, Won

ROOM = 1024
"""What waits to be read before the connection is closed, and everything told again."""


class News:
    """Openings and awards, as they are told. All that is open is told again at each connection, so
    the same may come twice; nothing is left out."""

    def __init__(self, nonce: Callable[[], bytes]) -> None:
        self._nonce = nonce
        self._told: asyncio.Queue[Opening | Won] = asyncio.Queue(ROOM)
        self._wanted = False
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None

    def connected(self, connection: Connection) -> None:
        """There is a connection to a leader."""
        self._connection = connection
        self.begin()

    def begin(self) -> None:
        """Subscribe anew where somebody listens: another connection, or another session."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._wanted and self._connection is not None:
            work = self._hear(self._connection, self._nonce())
            self._task = asyncio.get_running_loop().create_task(work)

    async def listen(self) -> AsyncIterator[Opening | Won]:
        """Everything from now on, for one listener."""
        if not self._wanted:
            self._wanted = True
            self.begin()
        while True:
            yield await self._told.get()

    async def close(self) -> None:
        """Listen no more."""
        self._wanted = False
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _hear(self, connection: Connection, nonce: bytes) -> None:
        try:
            subscription = await connection.subscribe(encode_wanted(NewsWanted(nonce)), room=ROOM)
            try:
                async for body in subscription:
                    push = decode_push(body)
                    if not isinstance(push, Auction):
                        await self._told.put(push)
            finally:
                subscription.cancel()
        except (Lost, Unreadable):
            return


async def end_of(connection: Connection, key: str) -> Auction | None:
    """The auction once it has ended; None where the node cannot tell. Raises `Lost`."""
    subscription = await connection.subscribe(encode_wanted(EndWanted(key)))
    try:
        while await subscription.next() is not None:
            pass
    finally:
        subscription.cancel()
    push = decode_push(subscription.last) if subscription.last else None
    return push if isinstance(push, Auction) else None
