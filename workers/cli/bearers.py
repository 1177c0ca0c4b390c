"""Whether those who run a task are still there."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from contracts.errors import MusterError
from knowledge.history.states import State
from workers.cli.connected import opened
from workers.cli.options import Given

if TYPE_CHECKING:
    from bus.keyvalue.protocol import KeyValue
    from knowledge.history.records import TaskRecord

_PATIENCE = 3.0
"""Seconds the bus has to answer: history alone is worth showing."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A worker that gives no sign of life. `since`: its last one, or when it told of the task;
    `over_by`: another has taken the task by then, if one has a free place. `others`: workers of the
    role that live. Times are UTC epoch seconds."""

    worker: str
    since: float
    over_by: float
    others: int


Asked: TypeAlias = "Callable[[Sequence[TaskRecord]], Awaitable[Mapping[str, Gone] | None]]"


async def nobody(tasks: "Sequence[TaskRecord]") -> "Mapping[str, Gone]":  # noqa: ARG001 - one way to ask
    """Where it is not asked who is there."""
    return {}


async def gone(given: Given, tasks: "Sequence[TaskRecord]") -> "Mapping[str, Gone] | None":
    """By role, the workers that hold a task by history's word and are gone; None where the bus
    cannot be asked."""
    if not _running(tasks):
        return {}
    lease = given.loaded().settings.fleet.lease
    try:
        async with asyncio.timeout(_PATIENCE), opened(given) as bus:
            return await missing(bus.store, tasks, lease)
    except (MusterError, TimeoutError):
        return None


async def missing(
    store: "KeyValue", tasks: "Sequence[TaskRecord]", lease: float
) -> dict[str, Gone]:
    """By role, the workers that hold one of `tasks` by history's word and show no sign of life."""
    from knowledge.history.judging import SLACK
    from workers.fleet.presence import GONE, last_sign, present

    running = _running(tasks)
    alive = await present(store) if running else []
    names = {one.worker for one in alive}
    found: dict[str, Gone] = {}
    for task in running:
        if task.worker is None or task.worker in names:
            continue
        since = max(task.since, await last_sign(store, task.worker) or 0.0)
        others = sum(one.role == task.role for one in alive)
        found[task.role] = Gone(task.worker, since, since + GONE + lease + SLACK, others)
    return found


def _running(tasks: "Sequence[TaskRecord]") -> "list[TaskRecord]":
    return [task for task in tasks if task.state is State.RUNNING]
