"""Looking for a task that may have been published a moment ago."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from contracts.clock import Clock
from knowledge.database.database import Database
from knowledge.database.errors import Unreachable
from knowledge.history import reading
from knowledge.history.records import Answer, TaskRecord, Watermark

PATIENCE = 2.0
"""Seconds in which history is given time to catch up."""

_POLL = 0.05

_CHANNEL = "muster_ask"
"""Where those who wait are heard of, by the name of their schema."""


@dataclass(frozen=True, slots=True)
class NoSuchTask:
    """Nothing the bus accepted before the question, and that is still kept, has this id."""

    as_of: float


@dataclass(frozen=True, slots=True)
class NotRecorded:
    """Nothing is known of this id yet: history is `behind` seconds."""

    behind: float
    as_of: float


Looked = Answer[Sequence[TaskRecord]] | NoSuchTask | NotRecorded


async def asks(database: Database) -> AsyncIterator[None]:
    """See `History.asks`."""
    heard = asyncio.Event()
    async with database.apart() as link:
        link.add_termination_listener(lambda _: heard.set())

        def hear(*notification: object) -> None:
            if notification[-1] == database.schema:
                heard.set()

        await link.add_listener(_CHANNEL, hear)
        while True:
            await heard.wait()
            heard.clear()
            if link.is_closed():
                raise Unreachable(
                    "the history database has ended the connection that listens",
                    details=database.where,
                    actions=("listen again",),
                    retry_after=1.0,
                )
            yield


async def look(database: Database, id_: str, clock: Clock, patience: float) -> Looked:
    """See `History.look`."""
    asked = await reading.mark(database)
    waiting = _Waiting(database, clock, patience)
    while True:
        mark = await reading.mark(database)  # before looking: what was accepted until then is there
        found = await reading.task(database, id_)
        if found.found:
            return found
        if mark.upto >= asked.now:
            return NoSuchTask(mark.upto)
        if not await waiting.a_moment():
            return NotRecorded(mark.behind, mark.upto)


async def catch_up(database: Database, clock: Clock, patience: float, fresh: float) -> Watermark:
    """See `History.catch_up`."""
    mark = await reading.mark(database)
    wanted = mark.now - fresh
    waiting = _Waiting(database, clock, patience)
    while mark.upto < wanted and await waiting.a_moment():
        mark = await reading.mark(database)
    return mark


class _Waiting:
    """Waits for history, once whoever records knows that somebody does."""

    def __init__(self, database: Database, clock: Clock, patience: float) -> None:
        self._database = database
        self._clock = clock
        self._give_up = clock.monotonic() + patience
        self._told = False

    async def a_moment(self) -> bool:
        """False once the patience is over."""
        if self._clock.monotonic() >= self._give_up:
            return False
        if not self._told:
            self._told = True
            await _ask(self._database)
        await self._clock.sleep(_POLL)
        return True


async def _ask(database: Database) -> None:
    """Let whoever records know that somebody waits."""
    async with database.link() as link:
        await link.execute("SELECT pg_notify($1, $2)", _CHANNEL, database.schema)
