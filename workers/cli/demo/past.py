"""What history knows of the demo's tasks."""

import asyncio
from collections.abc import Sequence

from contracts.clock import Clock
from contracts.errors import MusterError
from knowledge.history.history import History
from workers.cli import story
from workers.cli.story import Story
from workers.history.opening import open_history
from workers.settings import Loaded

_PATIENCE = 15.0
"""Seconds in which history may catch up."""

_AGAIN = 0.05


async def told(loaded: Loaded, tasks: Sequence[str], clock: Clock) -> list[Story]:
    """What `muster task show` tells of each task, once each has ended there. Raises the errors of
    `knowledge.database.errors`, and what `story.told` does after 15 s."""
    history = await open_history(loaded, clock)
    try:
        give_up = clock.monotonic() + _PATIENCE
        return [await _ended(history, task, clock, give_up) for task in tasks]
    finally:
        await history.close()


async def _ended(history: History, task: str, clock: Clock, give_up: float) -> Story:
    while True:
        late = clock.monotonic() >= give_up
        try:
            found = await story.told(history, task, patience=0.0)
        except MusterError as error:
            if late or not error.retryable:
                raise
        else:
            if late or all(each.finished for each in found.tasks):
                return found
        await asyncio.sleep(_AGAIN)
