"""`muster ps`: which roles are bound, who works on them, and what waits."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import typer

from contracts.topics import SCHEDULER
from workers.cli import output, times
from workers.cli.options import Given
from workers.cli.scale import show_crashes

if TYPE_CHECKING:
    from bus.bus import Bus
    from workers.fleet.presence import Alive
    from workers.fleet.staffing import Fleet
    from workers.settings import Loaded

LANES = ("high", "retry", "normal", "low")


@dataclass(frozen=True, slots=True)
class Row:
    """One bound group; per lane what waits, and over all lanes what is delayed or leased. None
    where the broker cannot say. `silent` of its `workers` are overdue with their sign of life:
    what they run is not known, and not in `running`."""

    role: str
    listens: tuple[str, ...]
    workers: int
    running: int
    done: int
    failed: int
    cancelled: int
    paused: bool
    waiting: dict[str, int | None]
    delayed: int | None
    leased: int | None
    silent: int = 0


def ps(ctx: typer.Context) -> None:
    """Show roles and workers; restarts are known where a `muster up` keeps them alive."""
    from workers.fleet import standing

    given = Given.of(ctx)
    loaded = given.loaded()
    rows, alive, fleet, away = asyncio.run(_look(loaded))
    found = standing.find(loaded.state)
    kept = found if found and standing.process(found.pid, found.created) else None
    restarts, now = fleet.restarts(), time.time()
    workers = [_worker(one, restarts.get((one.host, one.pid)), now) for one in alive]
    if given.json:
        output.as_json(
            {
                "bus": {"fallback": loaded.settings.bus.fallback is not None, "first_away": away},
                "roles": [asdict(row) for row in rows],
                "workers": workers,
                "crashes": [asdict(crash) for crash in fleet.crashes()],
                "up": kept.model_dump(mode="json") if kept else None,
            }
        )
        return
    if away is not None:
        output.note(f"the first bus is away, the fallback in use for {times.ago(now - away)}")
    _show(rows, workers)
    show_crashes(fleet.crashes())


async def _look(loaded: "Loaded") -> "tuple[list[Row], list[Alive], Fleet, float | None]":
    from workers.fleet.presence import present
    from workers.fleet.staffing import Fleet
    from workers.wiring import open_bus

    bus = await open_bus(loaded)
    try:
        alive, fleet = await asyncio.gather(present(bus.store), Fleet.read(bus.store))
        rows, paused = await asyncio.gather(bound_groups(bus, alive), bus.stops.paused())
        away = await first_away(bus) if loaded.settings.bus.fallback else None
        return [replace(row, paused=row.role in paused) for row in rows], alive, fleet, away
    finally:
        await bus.close()


async def first_away(bus: "Bus") -> float | None:
    """Since when a fleet with two buses works without its first one; None while it does not."""
    from bus.keyvalue import keys

    entry = await bus.store.get(keys.ROUTE_AWAY)
    return None if entry is None else float(json.loads(entry.value)["since"])


async def bound_groups(bus: "Bus", alive: "Sequence[Alive]") -> list[Row]:
    """Every bound group, and those that only their workers show."""
    bound = await _bound(bus)
    groups = {**{one.role: () for one in alive}, **bound}
    rows = [_row(bus, role, groups[role], alive) for role in sorted(groups)]
    return list(await asyncio.gather(*rows))


async def _bound(bus: "Bus") -> dict[str, tuple[str, ...]]:
    """The patterns of every bound group, as its entry tells."""
    from bus.keyvalue import keys
    from bus.keyvalue.paging import entries

    found: dict[str, tuple[str, ...]] = {}
    async for entry in entries(bus.store, keys.binding()):
        patterns = json.loads(entry.value).get("patterns", ())
        found[entry.key.removeprefix(keys.binding())] = tuple(patterns)
    return found


async def _row(bus: "Bus", role: str, listens: tuple[str, ...], alive: "Sequence[Alive]") -> Row:
    from bus.backend import Lag, Lane, LaneName
    from bus.errors import Unroutable

    try:
        lag: dict[Any, Any] = await bus.lag(role)
    except Unroutable:  # retired since it was listed, or no group at all
        lag = dict.fromkeys(map(Lane, LaneName), Lag(0, 0, 0)) if role == SCHEDULER else {}
    mine, now = [one for one in alive if one.role == role], time.time()
    heard = [one for one in mine if one.silent(now) is None]
    return Row(
        role=role,
        listens=listens,
        workers=len(mine),
        running=sum(one.running for one in heard),
        done=sum(one.succeeded for one in mine),
        failed=sum(one.failed for one in mine),
        cancelled=sum(one.cancelled for one in mine),
        paused=False,
        waiting={
            name: _sum([each.waiting for lane, each in lag.items() if lane.name == name])
            for name in LANES
        },
        delayed=_sum([each.delayed for each in lag.values()]),
        leased=_sum([each.leased for each in lag.values()]),
        silent=len(mine) - len(heard),
    )


def _sum(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) and counts else None


def _worker(one: "Alive", restarts: int | None, now: float) -> dict[str, Any]:
    silent = one.silent(now)
    return {
        "role": one.role,
        "worker": one.worker,
        "pid": one.pid,
        "host": one.host,
        "up": round(now - one.since, 1),
        "running": one.running,
        "concurrency": one.concurrency,
        "done": one.succeeded,
        "failed": one.failed,
        "cancelled": one.cancelled,
        "draining": one.draining,
        "health": one.health,
        "restarts": restarts,
        "places": one.concurrency if one.places is None else one.places,
        "pressure": one.pressure,
        "silent": None if silent is None else round(silent, 1),
    }


def _show(rows: list[Row], workers: list[dict[str, Any]]) -> None:
    columns = "ROLE LISTENS WORKERS RUNNING DONE FAILED HIGH RETRY NORMAL LOW DELAYED LEASED STATE"
    output.table(columns.split(), (_cells(row) for row in rows))
    columns = "ROLE PID HOST UP RUNNING DONE FAILED RESTARTS STATE HEALTH"
    output.table(columns.split(), (_worker_cells(worker) for worker in workers))


def heard(row: Row) -> str:
    """What it takes tasks from."""
    if row.role == SCHEDULER:
        return "the clock"
    return " ".join(row.listens) or "calls only"


def _cells(row: Row) -> list[object]:
    listens = heard(row)
    lag = [*(row.waiting[name] for name in LANES), row.delayed, row.leased]
    counts = [row.workers, row.running, row.done, row.failed]
    shown = ["?" if count is None else count for count in lag]
    states = ["paused"] * row.paused + [f"{row.silent} silent"] * bool(row.silent)
    return [row.role, listens, *counts, *shown, ", ".join(states)]


def _worker_cells(worker: dict[str, Any]) -> list[object]:
    return [
        worker["role"],
        worker["pid"],
        worker["host"],
        times.ago(worker["up"]),
        f"{worker['running'] if worker['silent'] is None else '?'}/{worker['concurrency']}",
        worker["done"],
        worker["failed"],
        "" if worker["restarts"] is None else worker["restarts"],
        _state(worker),
        worker["health"].removeprefix("http://"),
    ]


def _state(worker: dict[str, Any]) -> str:
    said = ["draining"] if worker["draining"] else []
    if worker["silent"] is not None:
        said.append(f"silent for {worker['silent']:.0f} s")
    if worker["pressure"]:
        said.append(f"{worker['places']}/{worker['concurrency']} ({worker['pressure']})")
    return ", ".join(said)
