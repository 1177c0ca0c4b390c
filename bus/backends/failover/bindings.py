"""Groups bound on both buses, and what is known of that while one of them is away."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from bus.backend import Backend, Lag, Lane
from bus.backends.failover.hand_overs import HandOvers
from bus.backends.failover.pull import away
from bus.backends.failover.side import Side
from bus.errors import Conflict, DatabaseUnreachable, Unreachable
from bus.keyvalue import keys
from bus.keyvalue.protocol import KeyValue


class Binder:
    """An entry `binding/GROUP` says that both buses know the group so."""

    def __init__(self, sides: Sequence[Side], store: KeyValue, hand_overs: HandOvers) -> None:
        self._sides = sides
        self._store = store
        self._hand_overs = hand_overs

    async def bind(self, group: str, patterns: Sequence[str]) -> None:
        """See `Backend.bind`. A group that both buses know so needs one of them, else both: or a
        publisher that finds the other one back would not know the group."""
        wanted = json.dumps({"patterns": sorted(patterns)}).encode()
        entry = await self._store.get(keys.binding(group))
        known = entry is not None and entry.value == wanted
        if entry is not None and not known:
            await self._store.delete(keys.binding(group))
        missing = await self._on_both(lambda bus: bus.bind(group, patterns))
        if len(missing) == len(self._sides):
            raise away(self._sides)
        if missing and not known:
            raise missing[0]
        if not known:
            await self._store.put(keys.binding(group), wanted)

    async def unbind(self, group: str, *, drop: bool) -> None:
        """See `Backend.unbind`. Needs both buses."""
        if not drop:
            await self._check_empty(group)
        await self._store.delete(keys.binding(group))
        for side in self._sides:
            await side.run(lambda bus: bus.unbind(group, drop=drop))
        await self._hand_overs.drop(group)

    async def lag(self, group: str) -> Mapping[Lane, Lag]:
        """See `Backend.lag`. What lies on a bus that is away can be had by nobody, and is not
        counted."""
        found: list[Mapping[Lane, Lag]] = []

        async def look(bus: Backend) -> None:
            found.append(await bus.lag(group))

        missing = await self._on_both(look)
        if len(missing) == len(self._sides):
            raise away(self._sides)
        return {lane: _sum([each[lane] for each in found]) for lane in found[0]}

    async def _check_empty(self, group: str) -> None:
        """Raise `Conflict` for what waits on the second bus before the first forgets the group."""
        binding = await self._store.get(keys.binding(group))
        if binding is None:
            return
        lag = await self._sides[1].run(lambda bus: bus.lag(group))
        counts = [count for lane in lag.values() for count in _counts(lane)]
        if any(counts):
            raise Conflict(
                f"{sum(counts)} messages wait for {group} on the fallback bus",
                actions=("let them be done", "or unbind with drop"),
            )

    async def _on_both(
        self, call: Callable[[Backend], Coroutine[Any, Any, None]]
    ) -> list[Unreachable]:
        """Errors of buses that are away; any other is raised."""
        ends = await asyncio.gather(
            *(side.run(call) for side in self._sides), return_exceptions=True
        )
        for end in ends:
            if isinstance(end, DatabaseUnreachable):
                raise end
            if isinstance(end, BaseException) and not isinstance(end, Unreachable):
                raise end
        return [end for end in ends if isinstance(end, Unreachable)]


def _counts(lane: Lag) -> list[int]:
    return [lane.waiting or 0, lane.delayed or 0, lane.leased or 0]


def _sum(lags: Sequence[Lag]) -> Lag:
    def total(counts: Sequence[int | None]) -> int | None:
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    return Lag(
        total([each.waiting for each in lags]),
        total([each.delayed for each in lags]),
        total([each.leased for each in lags]),
    )
