"""Waiting for tasks: their progress as it is told, then their results."""

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from contracts.results import Result, Status
from workers.cli import output
from workers.cli.errors import FAILED, Interrupted
from workers.sdk.errors import succeeded

if TYPE_CHECKING:
    from workers.fleet.client import FleetClient, Task


_LEAVING = 2.0
"""Seconds that readers have to end."""


async def results(
    fleet: "FleetClient", tasks: "Sequence[Task]", timeout: float | None, *, as_json: bool
) -> int:
    """Show progress, and the parts of the result of a single task, until every task has ended;
    print each result, and return the exit code.

    Raises `TaskFailed` where the only task failed or was cancelled, `NoResult` after `timeout`
    seconds, and `Interrupted` on Ctrl-C; the tasks go on.
    """
    watching = asyncio.create_task(_watch(fleet, tasks))
    showing = asyncio.create_task(_show_parts(tasks))
    try:
        outcomes = await asyncio.gather(*(task.outcome(timeout) for task in tasks))
        await showing
    except asyncio.CancelledError as error:
        raise _interrupted(tasks) from error
    finally:
        await _end(watching, showing)
    if len(outcomes) == 1:
        return _show_one(outcomes[0], as_json=as_json)
    return max(_show_line(outcome) for outcome in outcomes)


async def _end(*readers: "asyncio.Task[None]") -> None:
    """End what only reads, and do not wait for long: whoever presses Ctrl-C wants to go."""
    for reader in readers:
        reader.cancel()
    await asyncio.wait(readers, timeout=_LEAVING)


def _show_one(result: Result, *, as_json: bool) -> int:
    succeeded(result)
    output.as_json(_shape(result) if as_json else result.value)
    return 0


def _show_line(result: Result) -> int:
    output.as_json_line(_shape(result))
    return 0 if result.status is Status.SUCCEEDED else FAILED


def _shape(result: Result) -> dict[str, Any]:
    shape: dict[str, Any] = {
        "id": result.id,
        "status": result.status.value,
        "role": result.role,
        "worker": result.worker,
        "attempt": result.attempt,
    }
    if result.status is not Status.SUCCEEDED:
        return {**shape, "reason": result.reason, "error": result.error}
    return {**shape, "result": result.value}


async def _watch(fleet: "FleetClient", tasks: "Sequence[Task]") -> None:
    """Show progress: live on a terminal, else a line for each piece of news."""
    console = output.console(errors=True)
    known = {task.id for task in tasks}
    if not console.is_terminal:
        async for news in fleet.progress(tasks[0].reply):
            if news.task in known:
                output.note(f"{news.share:4.0%}  {news.note}")
        return
    columns = (BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=console) as bar:
        shown = {task.id: bar.add_task(task.topic, total=1.0) for task in tasks[:20]}
        async for news in fleet.progress(tasks[0].reply):
            if news.task in shown:
                bar.update(shown[news.task], completed=news.share, description=news.note)


async def _show_parts(tasks: "Sequence[Task]") -> None:
    """A line for each part of the result of the only task."""
    if len(tasks) > 1 or not tasks[0].streams:
        return
    async for part in tasks[0].stream():
        if part.restarts:
            output.note(f"attempt {part.attempt} begins anew: the parts above are void")
        else:
            text = part.value if isinstance(part.value, str) else json.dumps(part.value)
            output.note(f"part {part.number}: {text}")


def _interrupted(tasks: "Sequence[Task]") -> Interrupted:
    what = f"task {tasks[0].id} goes on" if len(tasks) == 1 else f"{len(tasks)} tasks go on"
    return Interrupted(
        f"interrupted; {what}",
        details="only the waiting has ended: the task is safe on the bus",
        actions=("see who works on it: `muster ps`",),
    )
