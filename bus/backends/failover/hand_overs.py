"""Who has what, in the bus database: of two messages with one key only one is handed out."""

from collections.abc import Sequence
from dataclasses import dataclass

from bus.backends.failover.statements import (
    BACK,
    CLAIM,
    DONE,
    DROP,
    FORGET,
    KEEP,
    KEPT,
    NOW,
    ORPHANS,
)
from bus.database.database import BusDatabase

WINDOW = 120.0
"""Seconds in which publishing a dedupe key again is the same message (promise 4)."""

_ORPHANED = 7 * 24 * 3600.0
"""Seconds after which nobody will say any more how a hand-over ended."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The `handed`th hand-over of a key of `group`, of the message that lies on `bus`."""

    group: str
    key: str
    bus: int
    handed: int

    @property
    def name(self) -> tuple[str, str]:
        """Whose row this is."""
        return self.group, self.key


class HandOvers:
    """Of one fleet. `lease`: seconds, counted by the database's clock."""

    def __init__(self, database: BusDatabase, lease: float) -> None:
        self._database = database
        self._lease = lease

    async def claim(self, group: str, bus: int, keys: Sequence[str]) -> dict[str, int]:
        """How often each key has been handed out now; those that are not to be are missing.
        `keys` has none twice."""
        rows = await self._database.fetch(
            CLAIM, self._database.fleet, group, bus, list(keys), sure=False
        )
        return {row["key"]: row["handed"] for row in rows}

    async def kept(self, group: str, bus: int, keys: Sequence[str]) -> set[str]:
        """Those of unclaimed keys that somebody still has; the others are never needed again."""
        fleet = self._database.fleet
        rows = await self._database.fetch(KEPT, fleet, group, bus, list(keys), sure=False)
        return {row["key"] for row in rows}

    async def keep(self, marks: Sequence[Mark], *, away: bool) -> set[tuple[str, str]]:
        """Renew the lease of these where the database holds it; `away`: from now on it does. The
        names of those that are ours."""
        terms = (*self._columns(marks), self._lease, away)
        rows = await self._database.fetch(KEEP, *terms, sure=False)
        return {(row["grp"], row["key"]) for row in rows}

    async def done(self, marks: Sequence[Mark], *, sure: bool) -> set[tuple[str, str]]:
        """These are settled; the names of those that were ours. `sure`: on disk on return."""
        rows = await self._database.fetch(DONE, *self._columns(marks), sure=sure)
        return {(row["grp"], row["key"]) for row in rows}

    async def back(self, marks: Sequence[Mark]) -> None:
        """Nobody saw these: they do not count as handed out."""
        await self._database.fetch(BACK, *self._columns(marks), sure=False)

    async def drop(self, group: str) -> None:
        """Forget a group."""
        await self._database.fetch(DROP, self._database.fleet, group)

    async def now(self) -> float:
        """The database's time, epoch seconds; also a proof that it answers."""
        return float(await self._database.fetchval(NOW, sure=False))

    async def forget(self, group: str, bus: int, empty: float) -> None:
        """The other bus had nothing for the group at the moment `empty`, or later: let go of what
        was settled a window before, of which no other message can come."""
        fleet = self._database.fleet
        await self._database.fetch(FORGET, fleet, group, bus, empty - WINDOW, sure=False)
        await self._database.fetch(ORPHANS, fleet, group, _ORPHANED, sure=False)

    def _columns(
        self, marks: Sequence[Mark]
    ) -> tuple[int, list[str], list[str], list[int], list[int]]:
        """In one order everywhere, so that no two statements wait for each other."""
        ordered = sorted(marks, key=lambda mark: mark.name)
        return (
            self._database.fleet,
            [mark.group for mark in ordered],
            [mark.key for mark in ordered],
            [mark.bus for mark in ordered],
            [mark.handed for mark in ordered],
        )
