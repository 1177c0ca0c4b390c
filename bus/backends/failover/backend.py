"""Two buses as one backend: its parts put together."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from bus.backend import Backend, Delivery, Lag, Lane, Message, Turn
from bus.backends.failover.bindings import Binder
from bus.backends.failover.hand_overs import HandOvers
from bus.backends.failover.pull import Pulling, away
from bus.backends.failover.settle import Settling
from bus.backends.failover.side import Side
from bus.errors import BusError, Closed, DatabaseUnreachable, Unreachable
from bus.keyvalue.protocol import KeyValue
from contracts.clock import Clock

FORGET_EVERY = 60.0
"""Seconds between two looks for hand-overs that need not be known any more."""


class FailoverBackend:
    """See `bus.backend.Backend`. Publishing goes to the first bus that is not away; what had no
    answer there is repeated on the other with the same keys. Whoever made the sides closes their
    connections."""

    def __init__(
        self,
        sides: Sequence[Side],
        store: KeyValue,
        hand_overs: HandOvers,
        clock: Clock,
        lease: float,
    ) -> None:
        self._sides = sides
        self._hand_overs = hand_overs
        self._clock = clock
        self._binder = Binder(sides, store, hand_overs)
        self._pulling = Pulling(sides, hand_overs, clock, lease)
        self._settling = Settling(sides, hand_overs, self._send, lease)
        self._empty: dict[tuple[str, int], float] = {}
        self._forgetting = asyncio.create_task(self._forget())
        self._closed = False

    async def bind(self, group: str, patterns: Sequence[str]) -> None:
        """See `Backend.bind`."""
        self._check_open()
        await self._binder.bind(group, patterns)

    async def unbind(self, group: str, *, drop: bool = False) -> None:
        """See `Backend.unbind`."""
        self._check_open()
        await self._binder.unbind(group, drop=drop)

    async def publish(self, messages: Sequence[Message], *, follow_up: bool = False) -> None:
        """See `Backend.publish`."""
        self._check_open()
        await self._on_either(lambda bus: bus.publish(messages, follow_up=follow_up))

    async def pull(
        self, group: str, lanes: Sequence[Lane | Turn], *, limit: int, wait: float
    ) -> list[Delivery]:
        """See `Backend.pull`."""
        self._check_open()
        return await self._pulling.pull(group, lanes, limit=limit, wait=wait)

    async def settle(
        self, deliveries: Sequence[Delivery], *, then: Sequence[Message] = ()
    ) -> list[Delivery]:
        """See `Backend.settle`."""
        self._check_open()
        return await self._settling.settle(deliveries, then)

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """See `Backend.extend`."""
        self._check_open()
        if deliveries:
            return await self._settling.extend(deliveries)
        await self._answered()
        return []

    async def lag(self, group: str) -> Mapping[Lane, Lag]:
        """See `Backend.lag`."""
        self._check_open()
        return await self._binder.lag(group)

    async def close(self) -> None:
        """See `Backend.close`."""
        if self._closed:
            return
        self._closed = True
        self._forgetting.cancel()
        await asyncio.wait([self._forgetting])
        await asyncio.gather(*(side.close_backend() for side in self._sides))
        await self._pulling.close()
        await self._settling.close()

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("the backend is closed")

    async def _send(self, messages: Sequence[Message]) -> None:
        """Make safe what follows from a settled message, wherever there is room for it."""
        if messages:
            await self._on_either(lambda bus: bus.settle((), then=messages))

    async def _on_either(self, call: Callable[[Backend], Coroutine[Any, Any, object]]) -> None:
        why: DatabaseUnreachable | None = None
        for side in self._sides:
            try:
                await side.run(call)
            except DatabaseUnreachable as error:
                why = error
            except Unreachable:
                continue
            else:
                return
        raise why or away(self._sides)

    async def _answered(self) -> None:
        """Return when one bus has answered, and the database: without it nothing is handed out."""
        asked = {
            asyncio.create_task(side.run(lambda bus: bus.extend(())))
            for side in self._sides
            if not side.away
        }
        waiting = set(asked)
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if any(task.exception() is None for task in done):
                    break
            else:
                await self._hand_overs.now()
                raise away(self._sides)
        finally:
            for task in waiting:
                task.cancel()
        await self._hand_overs.now()

    async def _forget(self) -> None:
        while True:
            await self._clock.sleep(FORGET_EVERY)
            for group in [*self._pulling.groups]:
                for side, other in (self._sides, self._sides[::-1]):
                    with suppress(BusError):
                        await self._forget_of(group, side, other)

    async def _forget_of(self, group: str, side: Side, other: Side) -> None:
        """What `side` handed out and is done need not be known once the other bus has nothing that
        was published within a window of it. Seen twice in a row: a lag may miss for a moment what
        is on its way to somebody."""
        name = group, side.number
        since = self._empty.pop(name, None)
        now = await self._hand_overs.now()
        lag = await other.run(lambda bus: bus.lag(group))
        if any(lane.waiting or lane.delayed or lane.leased for lane in lag.values()):
            return
        self._empty[name] = now
        if since is not None:
            await self._hand_overs.forget(group, side.number, since)
