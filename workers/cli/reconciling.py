"""`muster task reconcile`: tasks of which history says that they go on, and the bus does not."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from workers.cli import output, times
from workers.cli.connected import opened
from workers.cli.errors import FAILED
from workers.cli.options import Given

if TYPE_CHECKING:
    from workers.history.reconciling import Finding


def shown(given: Given, role: str | None, limit: int) -> int:
    """Print what is wrong with unfinished tasks. The exit code: 1 where one is lost."""
    found = asyncio.run(findings(given, role, limit))
    lost = {number for number, each in enumerate(found) if each.verdict == "lost"}
    if given.json:
        said = [{**asdict(one.task), "verdict": one.verdict, "said": _said(one)} for one in found]
        output.as_json(said)
        return FAILED if lost else 0
    columns = "ID ROLE STATE SINCE ATTEMPT WORKER VERDICT SAID".split()
    output.table(columns, [_cells(each, time.time()) for each in found], red=lost)
    if not found:
        output.note("every task that has not ended is where it should be")
    return FAILED if lost else 0


async def findings(given: Given, role: str | None, limit: int) -> "Sequence[Finding]":
    """What is wrong with the tasks that were silent for longest."""
    from contracts.clock import SystemClock
    from workers.history.opening import open_history
    from workers.history.reconciling import reconcile

    loaded, clock = given.loaded(), SystemClock()
    lease = loaded.settings.fleet.lease
    history = await open_history(loaded, clock)
    try:
        async with opened(given) as bus:
            return await reconcile(history, bus, clock, lease=lease, limit=limit, role=role)
    finally:
        await history.close()


def _cells(found: "Finding", now: float) -> list[object]:
    task = found.task
    since, worker = times.ago(now - task.since), task.worker if task.state == "running" else ""
    return [
        *(task.task, task.role, task.state, since, task.attempt or "", worker),
        *(found.verdict, _said(found)),
    ]


def _said(found: "Finding") -> str:
    return {
        "lost": "the bus holds nothing for its role any more: publish it again if it is wanted",
        "dead": "its end is missing here: see `muster dlq show`",
        "retired": "its role was retired: whatever waited for it was dropped",
        "left": "its worker gives no sign of life: it waits for one with a free place",
        "overdue": "its deadline is over: whoever takes it will not start it",
    }[found.verdict]
