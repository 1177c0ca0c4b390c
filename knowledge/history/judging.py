"""What is wrong with a task that has not ended. Pure."""

from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum

from knowledge.history.records import TaskRecord
from knowledge.history.states import State

SLACK = 1.0
"""Seconds beyond the lease in which another worker takes over what a dead one held (promise 12)."""


class Verdict(StrEnum):
    """`lost`: the bus holds nothing for its role any more. `dead`: it is a dead letter, and its end
    is missing here. `retired`: its role is not bound any more. `left`: its worker gives no sign of
    life, and nobody was heard to have taken it over: it waits for that, or still runs there.
    `overdue`: its deadline is over, and it has not ended."""

    LOST = "lost"
    DEAD = "dead"
    RETIRED = "retired"
    LEFT = "left"
    OVERDUE = "overdue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the bus tells: the workers with a sign of life, roles that are not bound, roles for
    which nothing waits, is delayed or leased, and dead letters by role and task."""

    alive: Container[str] = ()
    unbound: Container[str] = ()
    empty: Container[str] = ()
    dead: Container[tuple[str, str]] = ()


def judge(task: TaskRecord, seen: Seen, *, now: float, lease: float) -> Verdict | None:
    """What is wrong with `task`, or None. `now` is a time up to which history is complete
    (`as_of`), so that an end on its way is not taken for a missing one.

    One look at a bus where tasks move may miss one between two places: whoever says that a task is
    lost looks several times, and asks history again afterwards.
    """
    if task.finished or task.since + lease + SLACK >= now:
        return None
    if (task.role, task.task) in seen.dead:
        return Verdict.DEAD
    if task.state is State.RUNNING and task.worker in seen.alive:
        return None
    if task.role and task.role in seen.unbound:
        return Verdict.RETIRED
    if task.role and task.role in seen.empty:
        return Verdict.LOST
    if task.state is State.RUNNING:
        return Verdict.LEFT
    late = task.deadline is not None and task.deadline + lease + SLACK < now
    return Verdict.OVERDUE if late else None
