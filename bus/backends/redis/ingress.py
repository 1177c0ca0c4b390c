"""The ingress: a stream that programs put tasks into which know no groups, routed by the fleet.

Every process that pulls reads it; each entry is given to one of them. Routing and removing are one
step, so an entry that two have read is routed once, and one whose reader died is read by another
soon after a lease. What is parked because no group wants it is looked at whenever the bindings have
changed.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from bus.backends.redis.bindings import Bindings
from bus.backends.redis.errors import Lost, Refused, unreachable
from bus.backends.redis.link import BEAT, SILENCE, RedisLink
from bus.backends.redis.room import Room
from bus.backends.redis.routing import INLET, PARKED, READERS, Router
from bus.backends.redis.scripts import INLET as LOOK
from bus.backends.redis.wire import Wire
from bus.pumping import Pump

_READER = "fleet"
"""All processes are one consumer of the stream, so that none is left behind by a process."""

_BLOCK = 20
"""Seconds of one blocked read."""

_LOOK = 5.0
"""Seconds after which a process looks for what others have left; two leases if that is longer. One
that binds a group looks at once, when it begins to pull."""

_AT_ONCE = 64
"""Entries that are read at once."""

_DOING = "reading the ingress"


class Ingress:
    """What one process does for it, from its first pull on."""

    def __init__(self, link: RedisLink, bindings: Bindings, room: Room) -> None:
        self._link = link
        self._router = Router(link, bindings, room)
        self._pump = Pump(self._read, _DOING, link.clock)
        self._looked = b"never"

    def touch(self) -> None:
        """See that it runs."""
        self._pump.touch()

    async def close(self) -> None:
        """Finish what is being routed, and read no more."""
        await self._pump.close()

    async def _read(self) -> None:
        """Route what comes, and now and then what was left."""
        await self._look()
        wire = await self._link.open(_DOING, silence=int(_BLOCK / BEAT) + SILENCE)
        try:
            reading = self._ask(wire)
            while True:
                await asyncio.wait([reading], timeout=max(_LOOK, 2 * self._link.lease))
                if not reading.done():
                    await self._look()
                    continue
                found = self._answer(reading)
                reading = self._ask(wire)
                for _, entries in found:
                    await self._route(INLET, entries)
        finally:
            wire.drop()

    def _ask(self, wire: Wire) -> "asyncio.Future[Any]":
        where = ("STREAMS", f"{self._link.prefix}{INLET}", ">")
        how = ("COUNT", _AT_ONCE, "BLOCK", _BLOCK * 1000)
        return wire.ask("XREADGROUP", "GROUP", READERS, _READER, *how, *where)

    def _answer(self, reading: "asyncio.Future[Any]") -> Sequence[Any]:
        try:
            return reading.result() or ()
        except (Lost, Refused) as error:
            if isinstance(error, Refused) and error.code == "NOGROUP":
                raise unreachable(_DOING, f"somebody has removed it: {error}") from error
            raise self._link.failure(error, _DOING) from error

    async def _look(self) -> None:
        """Route what dead readers have left, and what was parked if the bindings are others."""
        asked = (READERS, _READER, round(self._link.lease * 1000), _AT_ONCE)
        left, parked, version = await self._link.run(LOOK, *asked, doing=_DOING)
        while left:
            await self._route(INLET, left)
            left, parked, version = await self._link.run(LOOK, *asked, doing=_DOING)
        if parked and version != self._looked:
            await self._route_parked()
        self._looked = version

    async def _route_parked(self) -> None:
        key, after = f"{self._link.prefix}{PARKED}", "-"
        asked = ("+", "COUNT", _AT_ONCE)
        while found := await self._link.ask("XRANGE", key, after, *asked, doing=_DOING):
            await self._route(PARKED, found)
            after = f"({found[-1][0].decode()}"

    async def _route(self, stream: str, found: Sequence[Any]) -> None:
        async with self._pump.busy:
            await self._router.route(stream, found)
