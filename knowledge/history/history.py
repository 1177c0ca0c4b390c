"""The history of a fleet: the one door to its tables."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date

from contracts.clock import Clock
from contracts.deeds import Deed
from contracts.events import Event
from knowledge.database.database import SCHEMA, Database
from knowledge.database.locks import Lock, held
from knowledge.history import decisions, deeds, reading, recording, retention, waiting
from knowledge.history.asking import LIMIT, MOST, DeathFilter, Filter
from knowledge.history.deeds import DeedFilter
from knowledge.history.records import (
    Answer,
    Death,
    DeedRecord,
    Page,
    Recorded,
    ResultRecord,
    RunRecord,
    TaskRecord,
    Usage,
    Watermark,
)
from knowledge.history.retention import Keep, Retained

RECORDER = "recorder"
"""Name of the lock that the active recorder holds."""


class History:
    """What happened to every task, in a PostgreSQL database. May be called concurrently.

    Every call raises `knowledge.database.errors` only; those that are `retryable` may be
    repeated as they are. Reads answer `as_of` a time of the database's clock: everything the bus
    accepted before is in the answer.
    """

    def __init__(self, database: Database, clock: Clock, keep: Keep | None = None) -> None:
        self.database = database
        self.keep = keep or Keep()
        self._clock = clock

    @classmethod
    async def open(
        cls, url: str, clock: Clock, *, schema: str = SCHEMA, keep: Keep | None = None
    ) -> "History":
        """The history at `url`, its tables made or brought up to date; see `Database.open`."""
        return cls(await Database.open(url, schema=schema), clock, keep)

    async def close(self) -> None:
        """Give the connections back."""
        await self.database.close()

    def recorder(self) -> AbstractAsyncContextManager[Lock]:
        """Wait to be the one that records: others stand by, and take over when it is gone."""
        return held(self.database, RECORDER)

    async def record(
        self, events: Sequence[Event], upto: float | None = None, *, done: Sequence[Deed] = ()
    ) -> Recorded:
        """Keep `events`, and what was `done`: when this returned they are on disk, all of them and
        once, however often, in whatever order and by however many they are told.

        Up to 2,000 events are one transaction, kept as a whole or not at all; more are several.
        What no table can hold is left out and counted as `refused`, and never keeps others from
        being recorded. With `upto`, a moment that `watermark` told as `now`, the
        caller says that everything the bus accepted before it is recorded with this call.
        """
        kept = await deeds.record(self.database, done)
        return kept + await recording.record(self.database, events, upto)

    def asks(self) -> AsyncIterator[None]:
        """Something each time somebody waits for history to catch up, see `look`: whoever records
        shall find out how far it reaches. For ever; close the iterator to hear no more."""
        return waiting.asks(self.database)

    async def watermark(self) -> Watermark:
        """Up to when history is complete."""
        return await reading.mark(self.database)

    async def task(self, task: str) -> Answer[Sequence[TaskRecord]]:
        """The task in each of its roles, its latest publication; empty if it is not known."""
        return await reading.task(self.database, task)

    async def look(self, task: str, patience: float = waiting.PATIENCE) -> waiting.Looked:
        """The task as `task` answers it. Where it is not known yet, history is given `patience`
        seconds to catch up with the moment of the question; then either there is no such task,
        or it is not recorded yet."""
        return await waiting.look(self.database, task, self._clock, patience)

    async def catch_up(
        self, patience: float = waiting.PATIENCE, *, fresh: float = 0.0
    ) -> Watermark:
        """Give history `patience` seconds to know all that was accepted up to `fresh` seconds
        before this call; how far it reaches then. What is asked afterwards is at least as new."""
        return await waiting.catch_up(self.database, self._clock, patience, fresh)

    async def tasks(
        self, f: Filter | None = None, *, after: str | None = None, limit: int = LIMIT
    ) -> Page[TaskRecord]:
        """A page of tasks by role, newest publication first. A page misses and repeats nothing
        that was there before the first page was asked for. Raises `InvalidValue`."""
        return await reading.tasks(self.database, f or Filter(), after, limit)

    async def runs(self, task: str) -> Answer[Sequence[RunRecord]]:
        """Every run of the task in order of publication, role and copy."""
        return await reading.runs(self.database, task)

    async def events(self, task: str, limit: int = MOST) -> Answer[Sequence[Event]]:
        """The last `limit` events of the task as they went, without payload and result."""
        return await reading.events(self.database, task, limit)

    async def result(self, task: str, role: str | None = None) -> Answer[Sequence[ResultRecord]]:
        """How the task ended in each role, or in one; nothing where it has not, or runs again.
        A result is never replaced by that of a run with a lower fence."""
        return await reading.results(self.database, task, role)

    async def usage(
        self,
        *,
        since: date | None = None,
        until: date | None = None,
        tenant: str | None = None,
        role: str | None = None,
        by: Sequence[str] = ("day", "tenant", "role"),
    ) -> Answer[Sequence[Usage]]:
        """What was done and spent from the day `since` to the day before `until` (UTC), summed
        over what `by` does not name."""
        return await reading.usage(self.database, (since, until), (tenant, role), by)

    async def unfinished(
        self, silent_since: float, limit: int = MOST
    ) -> Answer[Sequence[TaskRecord]]:
        """Tasks that have not ended and of which nothing was heard since, longest first: what
        `judging.judge` judges."""
        return await reading.unfinished(self.database, silent_since, limit)

    async def deaths(
        self, f: DeathFilter | None = None, *, after: str | None = None, limit: int = LIMIT
    ) -> Page[Death]:
        """A page of tasks that became dead letters, last first, with what was decided."""
        return await decisions.deaths(self.database, f or DeathFilter(), after, limit)

    async def audit(
        self, f: DeedFilter | None = None, *, after: str | None = None, limit: int = LIMIT
    ) -> Page[DeedRecord]:
        """A page of what operators did, last first."""
        return await deeds.page(self.database, f or DeedFilter(), after, limit)

    async def deeds(self, tasks: Sequence[TaskRecord]) -> Sequence[DeedRecord]:
        """What operators did to a task, as `task` answers it: to itself, and to all of its roles,
        tenant, subjects or fleet before it ended; first one first."""
        return await deeds.concerning(self.database, tasks)

    async def retain(self, now: float) -> Retained:
        """Make the partitions of the next days and drop what is older than `keep` says; call it
        at start and every few hours. Without it rows go to a default partition and stay. What
        has not ended stays for 400 days. Raises `Busy` when a reader was in the way: call it
        again later."""
        return await retention.retain(self.database, now, self.keep)
