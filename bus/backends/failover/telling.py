"""Since when a fleet works without its first bus, told to whoever looks at it."""

import asyncio
from contextlib import suppress

from pydantic_core import from_json, to_json

from bus.backends.failover.side import Side
from bus.errors import BusError
from bus.examined import Route
from bus.keyvalue import keys
from bus.keyvalue.protocol import ABSENT, KeyValue
from contracts.clock import Clock


class Telling:
    """The entry `route/away` of a fleet: the first process that misses the first bus puts it, any
    that finds it back removes it."""

    def __init__(self, first: Side, second: Side, store: KeyValue, clock: Clock) -> None:
        self._first = first
        self._second = second
        self._store = store
        self._clock = clock
        self._telling: set[asyncio.Task[None]] = set()
        first.on_change.append(self._changed)

    async def begin(self) -> None:
        """Tell what is so as this process begins: whoever put the entry may be gone."""
        await self._tell(self._clock.wall())

    async def route(self) -> Route:
        """Which bus this process would publish to now, and since when the fleet does so."""
        entry = await self._store.get(keys.ROUTE_AWAY)
        since = float(from_json(entry.value)["since"]) if entry is not None else None
        if not self._first.away:
            return Route(used=self._first.where, fallback=False, away=self._away())
        return Route(used=self._second.where, fallback=True, since=since, away=self._away())

    async def close(self) -> None:
        """Finish what is being told."""
        if self._telling:
            await asyncio.wait(self._telling)

    def _away(self) -> tuple[str, ...]:
        return tuple(side.where for side in (self._first, self._second) if side.away)

    def _changed(self) -> None:
        task = asyncio.create_task(self._tell(self._clock.wall()))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, now: float) -> None:
        with suppress(BusError):
            if self._first.away:
                value = to_json({"since": now, "away": self._first.where})
                await self._store.put(keys.ROUTE_AWAY, value, expect=ABSENT)
            else:
                await self._store.delete(keys.ROUTE_AWAY)
