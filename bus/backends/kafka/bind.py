"""Binding and unbinding: the topic first, then the row that publishers and pullers go by.

No lock is held meanwhile: of several that bind a group at once each finds the same row, makes the
same topic, and the last one's patterns hold. Who dies on the way leaves a row that is not ready,
which nobody sees and the next bind completes; or, in an unbind, one that is closing, which the next
bind opens and the next unbind completes. A topic without a row is deleted by whoever comes by.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from bus.backend import Lag, Lane
from bus.backends.kafka import statements, topics
from bus.backends.kafka.groups import Group, Groups
from bus.backends.kafka.link import KafkaLink
from bus.backends.kafka.names import LOGGED, new_topic
from bus.database.database import BusDatabase
from bus.errors import Conflict, Unreachable
from contracts.clock import Clock

if TYPE_CHECKING:
    from bus.database.links import Row

_TRIES = 20

_UNDER_WAY = 1.0
"""Seconds in which a publish that has looked at the bindings before they changed is over. What
comes later finds no topic, is not accepted, and is published again."""

Lags = Callable[[Group], Awaitable[Mapping[Lane, Lag]]]


class Binder:
    """Keeps the rows of groups and their topics in step. `slices`: into how many parts it cuts each
    lane; of processes that disagree the last to bind decides, and none loses anything."""

    def __init__(
        self,
        link: KafkaLink,
        database: BusDatabase,
        groups: Groups,
        lags: Lags,
        *,
        fleet: str,
        slices: int,
        clock: Clock,
    ) -> None:
        self._link = link
        self._database = database
        self._groups = groups
        self._lags = lags
        self._fleet = fleet
        self._slices = slices
        self._clock = clock

    async def bind(self, group: str, patterns: Sequence[str]) -> None:
        """See `Backend.bind`. Patterns are compared as sets."""
        wanted = sorted(set(patterns))
        await self._link.ready(f"binding {group!r}")
        for _ in range(_TRIES):
            if await self._bind_once(group, wanted):
                return
        raise Unreachable(
            f"{group!r} could not be bound",
            details="others keep unbinding it",
            actions=("try again", "see which process does that"),
        )

    async def _bind_once(self, group: str, wanted: Sequence[str]) -> bool:
        slots = max(self._link.address.partitions, self._slices)
        topic = new_topic(self._fleet, group)
        database, fleet = self._database, self._database.fleet
        found = (await database.fetch(statements.FOUND, fleet, group, topic, slots))[0]
        if found["slots"] >= slots and _same(found, wanted, self._slices):
            return True
        topic, count = found["topic"], slots * len(LOGGED)
        if not found["ready"]:
            await topics.create(self._link, topic, count, self._clock)
        elif found["slots"] < slots:
            await topics.grow(self._link, topic, count, self._clock)
        await database.fetch(statements.PARTS, found["gid"], count)
        bound = (found["gid"], list(wanted), self._slices, slots)
        return await database.fetchval(statements.BOUND, fleet, *bound) is not None

    async def unbind(self, group: str, *, drop: bool) -> None:
        """See `Backend.unbind`."""
        await self._link.ping()
        fleet = self._database.fleet
        mine = secrets.randbits(62)
        rows = await self._database.fetch(statements.CLOSING, fleet, group, mine)
        if not rows:
            await bury(self._link, self._database)
            return
        found = Group(*[*rows[0].values()])
        try:
            if not drop:
                await self._check_empty(found)
                await asyncio.sleep(_UNDER_WAY)
                await self._check_empty(found)
        except BaseException:
            await self._database.fetch(statements.REOPEN, fleet, found.gid, mine)
            raise
        if not await self._database.fetch(statements.UNBOUND, found.gid, mine):
            raise Conflict(f"{group!r} was bound again meanwhile", details="so it was not unbound")
        await bury(self._link, self._database)

    async def _check_empty(self, group: Group) -> None:
        lags = await self._lags(group)
        if any(lag.waiting or lag.delayed or lag.leased for lag in lags.values()):
            raise Conflict(
                f"messages are waiting for {group.name!r}",
                details="a group is only forgotten when nothing waits, is delayed or leased",
                actions=("let its workers finish", "drop what waits, knowingly"),
            )


async def bury(link: KafkaLink, database: BusDatabase) -> None:
    """Delete the topics whose groups are no more, whoever unbound them."""
    for row in await database.fetch(statements.GRAVES, database.fleet, sure=False):
        await topics.delete(link, row["topic"])
        await database.fetch(statements.BURIED, row["topic"])


def _same(found: "Row", wanted: Sequence[str], slices: int) -> bool:
    serves = found["ready"] and found["open"]
    return bool(serves) and found["patterns"] == list(wanted) and found["cut"] == slices
