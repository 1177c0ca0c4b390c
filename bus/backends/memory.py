"""A broker inside the process: the promises of a real one, kept by an injected clock.

For tests, ours and those of users. `MemoryBroker` stands for the server and everything on its
disk; each `MemoryBackend` on it is one connection, as of one process. They compete like
processes do, and what one of them held comes back by its lease when it is gone.
"""

import asyncio
from collections.abc import Mapping, Sequence

from bus.backend import Delivery, Lag, Lane, Message, Turn
from bus.backends.memory_broker import MemoryBroker
from bus.backends.memory_group import Group
from bus.errors import Closed
from bus.waking import Bell, new_bell, rung
from contracts.errors import InvalidValue

__all__ = ["MemoryBackend", "MemoryBroker"]


class MemoryBackend:
    """One connection to a `MemoryBroker`; see `bus.backend.Backend` for what each call promises."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._closed = ""

    def crashed(self) -> None:
        """The broker says that this connection's process is gone."""
        self._closed = self._closed or "its process has crashed"

    async def bind(self, group: str, patterns: Sequence[str]) -> None:
        """See `Backend.bind`."""
        await self._enter()
        self._broker.bind(group, patterns)

    async def unbind(self, group: str, *, drop: bool = False) -> None:
        """See `Backend.unbind`."""
        await self._enter()
        self._broker.unbind(group, drop=drop)

    async def publish(self, messages: Sequence[Message], *, follow_up: bool = False) -> None:
        """See `Backend.publish`."""
        await self._enter()
        self._broker.publish(messages, follow_up=follow_up)

    async def pull(
        self, group: str, lanes: Sequence[Lane | Turn], *, limit: int, wait: float
    ) -> list[Delivery]:
        """See `Backend.pull`. Nothing is awaited between taking messages and returning them."""
        if limit < 1:
            raise InvalidValue(f"limit is {limit}", details="pull at least one message")
        await self._enter()
        clock = self._broker.clock
        deadline = clock.monotonic() + wait
        while True:
            bell = new_bell()
            taken, kept, look = self._broker.pull(group, lanes, limit, bell)
            if taken:
                return taken
            left = deadline - clock.monotonic()
            await self._wait(kept, bell, min(left, look))
            if left <= 0:
                return []

    async def settle(
        self, deliveries: Sequence[Delivery], *, then: Sequence[Message] = ()
    ) -> list[Delivery]:
        """See `Backend.settle`."""
        await self._enter()
        return self._broker.settle(deliveries, then)

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """See `Backend.extend`."""
        await self._enter()
        return self._broker.extend(deliveries)

    async def lag(self, group: str) -> Mapping[Lane, Lag]:
        """See `Backend.lag`."""
        await self._enter()
        return self._broker.lag(group)

    async def close(self) -> None:
        """See `Backend.close`."""
        self._closed = self._closed or "it was closed"
        self._broker.call_all()

    async def _enter(self) -> None:
        """As at any broker, others get a turn before a call has its effect."""
        self._check()
        await asyncio.sleep(0)
        self._check()

    async def _wait(self, group: Group, bell: Bell, seconds: float) -> None:
        try:
            if seconds > 0:
                await rung(bell, self._broker.clock, seconds)
        finally:
            self._broker.leave(group, bell)
        self._check()

    def _check(self) -> None:
        if self._closed:
            raise Closed("the connection to the in-memory broker is closed", details=self._closed)
        self._broker.check()
