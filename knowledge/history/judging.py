"""What is wrong with a task that has not ended. Pure."""

from collections.abc import Container
from enum import StrEnum

from knowledge.history.records import TaskRecord
from knowledge.history.states import State

SLACK = 1.0
"""Seconds beyond the lease in which another worker takes over what a dead one held (promise 12)."""


class Verdict(StrEnum):
    """`lost`: its worker is gone, its lease is over, and nobody was heard to have taken it over.
    `overdue`: its deadline is over, and it has not ended."""

    LOST = "lost"
    OVERDUE = "overdue"


def judge(task: TaskRecord, *, now: float, lease: float, alive: Container[str]) -> Verdict | None:
    """What is wrong with `task`, or None.

    `alive` are the workers with a sign of life within the lease; `now` is a time up to which
    history is complete (`as_of`), so that an end on its way is not taken for a missing one.
    """
    if task.finished:
        return None
    quiet = task.since + lease + SLACK < now
    if task.state is State.RUNNING and quiet and task.worker not in alive:
        return Verdict.LOST
    late = task.deadline is not None and task.deadline + lease + SLACK < now
    if late and not (task.state is State.RUNNING and task.worker in alive):
        return Verdict.OVERDUE
    return None
