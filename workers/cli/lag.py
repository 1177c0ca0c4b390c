"""`muster lag`: what waits for each group, who works on it, and which groups are deserted."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import typer

from contracts.topics import SCHEDULER
from workers.cli import output, times
from workers.cli.options import Given
from workers.cli.ps import LANES, Row, bound_groups

if TYPE_CHECKING:
    from workers.settings import Loaded


@dataclass(frozen=True, slots=True)
class Group:
    """A bound group. Per lane what waits; over all lanes what is delayed or leased, None where
    the broker cannot say. `seen`: UTC epoch second when a worker was last there, true to a
    minute; None if none ever was. `deserted`: none was for a day."""

    group: str
    workers: int
    seen: float | None
    deserted: bool
    waiting: Mapping[str, int | None]
    delayed: int | None
    leased: int | None


def lag(ctx: typer.Context) -> None:
    """Show what waits for each group; one without a worker for a day is red."""
    given = Given.of(ctx)
    found = asyncio.run(_look(given.loaded()))
    if given.json:
        output.as_json({"groups": [asdict(group) for group in found]})
        return
    columns = "GROUP WORKERS SEEN HIGH RETRY NORMAL LOW DELAYED LEASED STATE"
    now = time.time()
    output.table(columns.split(), [_cells(group, now) for group in found], red=_red(found))


async def _look(loaded: "Loaded") -> list[Group]:
    from bus.members import deserted, last_seen
    from workers.fleet.presence import present
    from workers.wiring import open_bus

    bus = await open_bus(loaded, source="/muster/lag")
    try:
        alive = await present(bus.store)
        rows = await bound_groups(bus, [one for one in alive if one.role != SCHEDULER])
        seen = await last_seen(bus.store)
    finally:
        await bus.close()
    gone = deserted([row.role for row in rows if not row.workers], seen, time.time())
    return [_group(row, seen.get(row.role), row.role in gone) for row in rows]


def _group(row: Row, seen: float | None, deserted: bool) -> Group:
    return Group(
        group=row.role,
        workers=row.workers,
        seen=seen,
        deserted=deserted,
        waiting=row.waiting,
        delayed=row.delayed,
        leased=row.leased,
    )


def _cells(group: Group, now: float) -> list[object]:
    counts = [*(group.waiting[name] for name in LANES), group.delayed, group.leased]
    return [
        group.group,
        group.workers,
        "never" if group.seen is None else times.ago(now - group.seen),
        *("?" if count is None else count for count in counts),
        "no worker for a day" if group.deserted else "",
    ]


def _red(groups: list[Group]) -> set[int]:
    return {number for number, group in enumerate(groups) if group.deserted}
