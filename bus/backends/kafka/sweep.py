"""Deleting what is done: records below everything that is still needed, and claims whose window is
over.

While work is done, one process of the fleet does it every few seconds.
"""

import asyncio
import logging
from collections import defaultdict
from typing import TYPE_CHECKING

from bus.backends.kafka import log, statements
from bus.backends.kafka.bind import bury
from bus.backends.kafka.link import KafkaLink
from bus.database.database import BusDatabase
from bus.errors import BusError, Unreachable
from contracts.clock import Clock

if TYPE_CHECKING:
    from bus.database.links import Row

EVERY = 5.0
"""Seconds between two sweeps of a fleet."""

WINDOW = 120.0
"""Seconds within which the same dedupe key is the same message (promise 4)."""

APART = 60.0
"""Seconds that the clocks of Kafka and of its bus database may differ by."""

_AT_ONCE = 10_000
"""Claims forgotten by one statement."""

_log = logging.getLogger(__name__)


class Sweeper:
    """Sweeps after it was touched."""

    def __init__(self, link: KafkaLink, database: BusDatabase, clock: Clock) -> None:
        self._link = link
        self._database = database
        self._clock = clock
        self._touched = False
        self._task: asyncio.Task[None] | None = None

    def touch(self) -> None:
        """Something was done."""
        self._touched = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._keep())

    async def sweep(self) -> None:
        """Delete what is not needed any more."""
        rows = await self._database.fetch(statements.LOWS, self._database.fleet, sure=False)
        now = await self._database.fetchval("SELECT now()", sure=False)
        groups: dict[tuple[int, str], list[Row]] = defaultdict(list)
        for row in rows:
            groups[row["gid"], row["topic"]].append(row)
        for (gid, topic), parts in groups.items():
            ends = await log.ends(self._link, topic, [row["part"] for row in parts])
            lows = {r["part"]: r["wanted"] for r in parts if r["wanted"] > r["low"]}
            if lows:
                await log.delete_below(self._link, topic, lows)
            swept = [
                (gid, r["part"], r["wanted"], r["next"], r["next"] >= ends[r["part"]])
                for r in parts
            ]
            await self._database.fetch(
                statements.SWEPT, now, *zip(*sorted(swept), strict=True), sure=False
            )
            await self._forget(gid)
        await bury(self._link, self._database)

    async def close(self) -> None:
        """Sweep no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _forget(self, gid: int) -> None:
        while True:
            gone = await self._database.fetch(
                statements.FORGET, gid, WINDOW + APART, _AT_ONCE, sure=False
            )
            if len(gone) < _AT_ONCE:
                return

    async def _keep(self) -> None:
        """Every few seconds as long as something was done, and once more."""
        busy = True
        while busy:
            await self._clock.sleep(EVERY)
            busy, self._touched = self._touched, False
            try:
                if await self._ours():
                    await self.sweep()
            except Unreachable as error:
                _log.debug("what is done was not deleted: %s", error)
                busy = True
            except BusError as error:
                _log.warning("what is done could not be deleted: %s", error)

    async def _ours(self) -> bool:
        """Whether no other process of the fleet has done it a moment ago."""
        fleet = self._database.fleet
        return bool(await self._database.fetch(statements.SWEEP, fleet, EVERY * 0.8, sure=False))
