"""Looking for a task that may have been published a moment ago."""

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.clock import Clock
from knowledge.database.database import Database
from knowledge.history import reading
from knowledge.history.records import Answer, TaskRecord

PATIENCE = 2.0
"""Seconds in which history is given time to catch up."""

_POLL = 0.05


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


async def look(database: Database, id_: str, clock: Clock, patience: float) -> Looked:
    """See `History.look`."""
    asked = await reading.mark(database)
    give_up = clock.monotonic() + patience
    while True:
        mark = await reading.mark(database)  # before looking: what was accepted until then is there
        found = await reading.task(database, id_)
        if found.found:
            return found
        if mark.upto >= asked.now:
            return NoSuchTask(mark.upto)
        if clock.monotonic() >= give_up:
            return NotRecorded(mark.behind, mark.upto)
        await clock.sleep(_POLL)
