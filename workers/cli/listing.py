"""Tasks as history lists them."""

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from contracts.topics import near
from workers.cli import output, times
from workers.cli.errors import WrongUsage
from workers.cli.options import Given
from workers.cli.past import first, with_history

if TYPE_CHECKING:
    from knowledge.history.asking import Filter
    from knowledge.history.history import History
    from knowledge.history.records import TaskRecord
    from knowledge.history.states import State


def listed(given: Given, chosen: "Filter", limit: int) -> None:
    """Print the first `limit` tasks that are `chosen`."""
    found, more = with_history(given, lambda history: _all(history, chosen, limit))
    if given.json:
        output.as_json([asdict(task) for task in found])
        return
    columns = "ID TOPIC ROLE STATE AGE ATTEMPT SECONDS REASON".split()
    now = time.time()
    output.table(columns, (_cells(task, now) for task in found))
    if more:
        output.note("there are more: see them with --limit")


async def _all(history: "History", chosen: "Filter", limit: int) -> "tuple[list[TaskRecord], bool]":
    """The first `limit`, and whether there are more."""
    return await first(lambda after, most: history.tasks(chosen, after=after, limit=most), limit)


def state_named(name: str) -> "State":
    """The state called `name`, or `WrongUsage` that names the nearest."""
    from knowledge.history.states import State

    try:
        return State(name)
    except ValueError:
        close = near(name, [str(state) for state in State], limit=1)
        raise WrongUsage(
            f"there is no state {name!r}",
            details=f"did you mean {close[0]}?" if close else "none is like it",
            actions=(f"name one of {', '.join(State)}",),
        ) from None


def _cells(task: "TaskRecord", now: float) -> list[object]:
    seconds = f"{task.seconds:.3f}" if task.seconds is not None else ""
    age = times.ago(now - task.published)
    return [
        task.task,
        task.topic,
        task.role,
        task.state,
        age,
        task.attempt or "",
        seconds,
        task.reason or "",
    ]
