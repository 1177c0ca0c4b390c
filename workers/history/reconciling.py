"""Tasks of which history says that they have not ended, held against what the bus knows of them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from bus.backend import Lag
from bus.bus import Bus
from bus.deadletters import State
from bus.errors import NotDead, Unroutable
from contracts.clock import Clock
from contracts.errors import DecodeError
from knowledge.history.history import History
from knowledge.history.judging import SLACK, Seen, Verdict, judge
from knowledge.history.records import TaskRecord
from workers.fleet.presence import present

LOOKS = 3
"""Looks at the bus that have to agree before a task is said to be lost."""

APART = 1.5
"""Seconds between two of them: what a broker tells is true within a second."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A task, and what is wrong with it."""

    task: TaskRecord
    verdict: Verdict


async def reconcile(
    history: History, bus: Bus, clock: Clock, *, lease: float, limit: int, role: str | None = None
) -> list[Finding]:
    """What is wrong with the tasks that were silent for longest, of `limit` looked at.

    Never says of a live task that it is lost: it was found nowhere at three moments, and history,
    which has caught up with all of them, has heard nothing of it meanwhile. A task that ends or is
    given back tells so in the call in which it goes.
    """
    mark = await history.catch_up()
    silent = (await history.unfinished(mark.upto - lease - SLACK, limit)).found
    tasks = [task for task in silent if role in {None, task.role}]
    findings = await _judged(tasks, bus, mark.upto, lease)
    lost = [each.task for each in findings if each.verdict is Verdict.LOST]
    for _ in range(1, LOOKS):
        if lost:
            await clock.sleep(APART)
            again = await _judged(lost, bus, mark.upto, lease)
            lost = [each.task for each in again if each.verdict is Verdict.LOST]
    sure = await _unheard(history, lost)
    return [each for each in findings if each.verdict is not Verdict.LOST or each.task in sure]


async def _judged(tasks: Sequence[TaskRecord], bus: Bus, now: float, lease: float) -> list[Finding]:
    seen = await _look(tasks, bus)
    verdicts = [(task, judge(task, seen, now=now, lease=lease)) for task in tasks]
    return [Finding(task, verdict) for task, verdict in verdicts if verdict is not None]


async def _look(tasks: Sequence[TaskRecord], bus: Bus) -> Seen:
    roles = sorted({task.role for task in tasks if task.role})
    held = dict(
        zip(roles, await asyncio.gather(*(_held(bus, role) for role in roles)), strict=True)
    )
    return Seen(
        alive={one.worker for one in await present(bus.store)} if tasks else (),
        unbound={role for role, count in held.items() if count is None},
        empty={role for role, count in held.items() if count == 0},
        dead={(task.role, task.task) for task in tasks if await _is_dead(bus, task)},
    )


async def _held(bus: Bus, role: str) -> int | None:
    """How much the bus holds for a role, 1 where it cannot say; None for one that is not bound."""
    try:
        lags = (await bus.lag(role)).values()
    except Unroutable:
        return None
    found = [lag for lag in lags if isinstance(lag, Lag)]
    counts = [count for lag in found for count in (lag.waiting, lag.delayed, lag.leased)]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else max(1, sum(known))


async def _is_dead(bus: Bus, task: TaskRecord) -> bool:
    """Whether a letter of this copy, or a later one, lies there and is not on its way back."""
    try:
        letter = await bus.dead.get(task.role, task.task) if task.role else None
    except (NotDead, DecodeError):
        return False
    return letter is not None and letter.state is State.DEAD and letter.copy >= task.copy


async def _unheard(history: History, tasks: Sequence[TaskRecord]) -> list[TaskRecord]:
    """Those of which history has heard nothing since; none while it has not caught up."""
    if not tasks:
        return []
    now = (await history.watermark()).now
    if (await history.catch_up()).upto < now:
        return []
    return [task for task in tasks if task in (await history.task(task.task)).found]
