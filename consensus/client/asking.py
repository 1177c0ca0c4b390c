"""Asks the leader until it answers: through reconnects, elections and a busy ledger."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from consensus.client.channel import Channel
from consensus.client.errors import LedgerAway
from consensus.service.replies import Invalid, Moved, Postponed, Reply, decode_reply
from consensus.transport.connection import Connection
from consensus.transport.dialing import Patience
from consensus.transport.errors import Failed, Lost, NoAnswer
from contracts.clock import Clock
from contracts.errors import InvalidValue

T = TypeVar("T")
PATIENCE = Patience(first=0.01, cap=0.5)
"""Between two times that the same is asked of a leader that is busy."""


class Asking:
    """Asks through one channel. The same bytes are asked again after a loss: whoever uses this
    asks only what may be done twice without harm, or what the ledger knows again."""

    def __init__(self, channel: Channel, clock: Clock, rng: random.Random) -> None:
        self._channel = channel
        self._clock = clock
        self._rng = rng

    @property
    def reason(self) -> str:
        """Why nobody answers, as far as is known."""
        return self._channel.reason

    async def ask(
        self, what: str, body: Callable[[], bytes], timeout: float, *, order: bool = False
    ) -> Reply:
        """As `until`, for `timeout` seconds; then `LedgerAway`."""
        try:
            async with asyncio.timeout(timeout):
                return await self.until(body, order_s=timeout if order else 0)
        except TimeoutError as error:
            raise LedgerAway(what, self.reason) from error

    async def until(self, body: Callable[[], bytes], *, order_s: float = 0) -> Reply:
        """What the leader answers, however long that takes; `body` is asked for anew each time.
        With `order_s` it is an order, whose answer may take so long. Raises `InvalidValue` where it
        will never be done."""
        tries = 0
        while True:
            connection = await self._channel.leader()
            reply = await self._once(connection, body(), order_s)
            if isinstance(reply, Invalid):
                raise InvalidValue(reply.message, details=reply.details, actions=reply.actions)
            if isinstance(reply, Moved):
                self._channel.doubt(connection, reply.address)
            elif reply is not None and not isinstance(reply, Postponed):
                return reply
            tries += 1
            if not isinstance(reply, Moved):
                await self._clock.sleep(PATIENCE.delay(tries, self._rng))

    async def _once(self, connection: Connection, body: bytes, order_s: float) -> Reply | None:
        """None where nobody knows what was done."""
        ask: Callable[..., Awaitable[bytes]] = connection.order if order_s else connection.request
        patience = order_s or self._channel.answer_s
        try:
            return decode_reply(await ask(body, timeout=patience))
        except (Lost, NoAnswer, Failed) as error:
            self._channel.reason = str(error)
            self._channel.doubt(connection)
            return None
