"""Schedules in PostgreSQL."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from contracts.deeds import Deed
from knowledge.database.database import Database
from knowledge.database.statements import statement
from knowledge.history.deeds import keep
from knowledge.schedules.rows import Moved, PutOff, Schedule
from knowledge.schedules.ticks import Misfire, Timing

if TYPE_CHECKING:
    import asyncpg

    from knowledge.database.links import Link

_sql = partial(statement, "knowledge.schedules")

_IDLE = "SET LOCAL idle_in_transaction_session_timeout = '10s'"
"""A claimer that stands still loses its claim; one that dies does at once."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Schedules that are ours until the block of `Schedules.claim` ends."""

    schedules: Sequence[Schedule]
    _link: "Link"

    async def settle(self, decided: Sequence[Moved | PutOff]) -> None:
        """Write down what was decided; it holds when the block ends."""
        moved = [(d.name, d.next, d.last, d.fired) for d in decided if isinstance(d, Moved)]
        put_off = [(d.name, d.due, d.error) for d in decided if isinstance(d, PutOff)]
        if moved:
            await self._link.executemany(_sql("move"), moved)
        if put_off:
            await self._link.executemany(_sql("put_off"), put_off)


class Schedules:
    """The schedules of a fleet. Safe for concurrent use, by any number of processes.

    Every method raises the errors of `knowledge.database.errors`. A `deed` says who changes what:
    it is kept in the audit with the change, and only where there is one.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, schedule: Schedule, *, replace: bool = False, deed: Deed | None = None
    ) -> bool:
        """Keep a schedule; False where one of its name is there and not to be replaced. One that
        is replaced stays paused if it was, and keeps its counts."""
        timing = schedule.timing
        values = (
            *(schedule.name, schedule.tenant, schedule.topic, schedule.payload),
            *(schedule.priority, schedule.deadline, schedule.budget),
            *(timing.cron, timing.at, timing.zone, schedule.misfire.value),
            *(schedule.made, schedule.next, replace),
        )
        async with self._database.transaction() as link:
            old = await link.fetchrow(_sql("lock"), schedule.name)
            if await link.fetchval(_sql("add"), *values) is None:
                return False
            before = "" if old is None else _said(_schedule(old))
            await _keep(link, deed, before=before, after=_said(schedule))
            return True

    async def get(self, name: str) -> Schedule | None:
        """The schedule of this name."""
        async with self._database.link() as link:
            row = await link.fetchrow(_sql("get"), name)
        return _schedule(row) if row is not None else None

    async def all(self, tenant: str | None = None) -> list[Schedule]:
        """Every schedule, of one tenant or of all, by name."""
        async with self._database.link() as link:
            return [_schedule(row) for row in await link.fetch(_sql("list"), tenant)]

    async def pause(self, name: str, deed: Deed | None = None) -> bool:
        """Let it fire no more, from when this returns; False if there is none."""
        async with self._database.transaction() as link:
            row = await link.fetchrow(_sql("lock"), name)
            if row is None:
                return False
            if not row["paused"]:
                await link.execute(_sql("pause"), name)
                await _keep(link, deed)
            return True

    async def resume(self, name: str, now: float, deed: Deed | None = None) -> Schedule | None:
        """Let it fire again, from its first tick after `now` on; what is to fire only once fires
        late as its `misfire` says. One that is not paused is left as it is. None if there is
        none."""
        async with self._database.transaction() as link:
            row = await link.fetchrow(_sql("lock"), name)
            if row is None:
                return None
            found = _schedule(row)
            if found.paused:
                coming = found.next if found.timing.cron is None else found.timing.after(now)
                await link.execute(_sql("resume"), name, coming)
                await _keep(link, deed)
            row = await link.fetchrow(_sql("get"), name)
        return _schedule(row) if row is not None else None

    async def remove(self, name: str, deed: Deed | None = None) -> bool:
        """Forget it: it fires no more, from when this returns. False if there is none."""
        async with self._database.transaction() as link:
            row = await link.fetchrow(_sql("lock"), name)
            if row is None:
                return False
            await link.execute(_sql("remove"), name)
            await _keep(link, deed, before=_said(_schedule(row)))
            return True

    async def due(self) -> float | None:
        """When a schedule is to be looked at next, also one that somebody has claimed."""
        async with self._database.link() as link:
            found: float | None = await link.fetchval(_sql("due"))
        return found

    async def close(self) -> None:
        """Let go of the database."""
        await self._database.close()

    @asynccontextmanager
    async def claim(self, now: float, *, limit: int) -> AsyncIterator[Claim]:
        """Those that are due at `now` and that nobody else has claimed. What is settled holds
        when the block ends without an error; else, or when this process dies, another claims them
        as they were."""
        async with self._database.transaction() as link:
            await link.execute(_IDLE)
            rows = await link.fetch(_sql("claim"), now, limit)
            yield Claim([_schedule(row) for row in rows], link)


async def _keep(link: "Link", deed: Deed | None, *, before: str = "", after: str = "") -> None:
    if deed is not None:
        await keep(link, [replace(deed, before=before, after=after)])


def _said(schedule: Schedule) -> str:
    """What a schedule does, in a few words."""
    timing = schedule.timing
    when = timing.cron or f"once, {datetime.fromtimestamp(timing.at or 0.0, UTC).isoformat()}"
    return f"{schedule.topic} at {when} ({timing.zone})"


def _schedule(row: "asyncpg.Record") -> Schedule:
    fields = dict(row)
    timing = Timing(fields.pop("cron"), fields.pop("at"), fields.pop("zone"))
    return Schedule(timing=timing, misfire=Misfire(fields.pop("misfire")), **fields)
