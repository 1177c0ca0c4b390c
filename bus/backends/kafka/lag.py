"""What lies in each lane of a group: rows are counted, and the log from where hand-overs stand."""

import asyncio
from collections.abc import Mapping

from bus.backend import Lag, Lane, LaneName
from bus.backends.kafka import log, statements
from bus.backends.kafka.groups import Group, Groups
from bus.backends.kafka.link import KafkaLink
from bus.backends.kafka.names import NAMES, lane_of, slot_of
from bus.database.database import BusDatabase


class Lags:
    """Counts what there is. A repetition of a message counts until it would be handed over."""

    def __init__(self, link: KafkaLink, database: BusDatabase, groups: Groups) -> None:
        self._link = link
        self._database = database
        self._groups = groups

    async def lag(self, group: Group) -> Mapping[Lane, Lag]:
        """See `Backend.lag`."""
        counts = {Lane(name, slice_): [0, 0, 0] for name in LaneName for slice_ in range(group.cut)}
        # Where hand-overs stand is asked before the rows: what moves between is counted twice,
        # never missed.
        nexts = await self._database.fetch(statements.NEXT, group.gid, sure=False)
        places = {row["part"]: row["next"] for row in nexts}
        ends = await log.ends(self._link, group.topic, list(places))
        for part, end in ends.items():
            lane = Lane(lane_of(part), slot_of(part) % group.cut)
            counts[lane][0] += max(0, end - places[part])
        for row in await self._database.fetch(statements.COUNTS, group.gid, sure=False):
            lane = Lane(NAMES[row["lane"]], row["slice"] % group.cut)
            for number, what in enumerate(("waiting", "delayed", "leased")):
                counts[lane][number] += row[what]
        return {lane: Lag(*found) for lane, found in counts.items()}

    async def all(self) -> Mapping[str, Mapping[Lane, Lag]]:
        """Of every group."""
        groups = dict((await self._groups.current()).groups)
        lags = await asyncio.gather(*map(self.lag, groups.values()))
        return dict(zip(groups, lags, strict=True))
