"""What a whole fleet does now: looked up again and again, as modestly as can be."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from bus.errors import BusError
from bus.keyvalue import keys
from bus.keyvalue.protocol import Removed, Snapshot, Written
from workers.cli.ps import Row, bound_groups
from workers.fleet.listening import PREFIX
from workers.fleet.meter import Meter, Rates, quantile
from workers.fleet.presence import Alive, present
from workers.fleet.staffing import Crash, Fleet

if TYPE_CHECKING:
    from bus.bus import Bus

_SELDOM = 5.0
"""Seconds after which machines and pauses are looked up again."""

_FIRST = 5.0
"""Seconds the first count of dead letters may take; after that it is known or unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleNow:
    """A role. `slots`: tasks its workers take at once; `rates` None until they are known; `run`
    and `wait`: p50 and p99 of the last seconds, by the upper bounds of buckets; `dead`: its dead
    letters; `restarts` of its processes that live, None where no `muster up` keeps them; `crash`:
    one of its processes that dies again and again."""

    row: Row
    slots: int
    rates: Rates | None
    run: tuple[float | None, float | None]
    wait: tuple[float | None, float | None]
    dead: int | None
    restarts: int | None
    crash: Crash | None

    def waiting(self) -> int | None:
        """What waits in all lanes; None where the broker cannot say."""
        counts = list(self.row.waiting.values())
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) and counts else None


@dataclass(frozen=True, slots=True)
class WorkerNow:
    """A worker. `cpu`: processors used on the mean, None until known; `restarts` where a `muster
    up` keeps it alive."""

    alive: Alive
    cpu: float | None
    restarts: int | None


@dataclass(frozen=True, slots=True)
class Overview:
    """The fleet at one moment, UTC epoch second."""

    at: float
    roles: tuple[RoleNow, ...]
    workers: tuple[WorkerNow, ...]

    def as_json(self) -> dict[str, Any]:
        """For a program; what is not known is null."""
        return {
            "at": self.at,
            "roles": [_role(each) for each in self.roles],
            "workers": [_worker(each, self.at) for each in self.workers],
        }


def _role(one: RoleNow) -> dict[str, Any]:
    run, wait = map(_pair, (one.run, one.wait))
    return {
        **asdict(one.row),
        "slots": one.slots,
        "rates": asdict(one.rates) if one.rates else None,
        "run_seconds": run,
        "wait_seconds": wait,
        "dead": one.dead,
        "restarts": one.restarts,
        "crash": asdict(one.crash) if one.crash else None,
    }


def _pair(found: tuple[float | None, float | None]) -> dict[str, float | None]:
    known = [None if each == float("inf") else each for each in found]
    return {"p50": known[0], "p99": known[1]}


def _worker(one: WorkerNow, now: float) -> dict[str, Any]:
    alive = one.alive
    names = "role worker pid host concurrency running succeeded failed again cancelled draining"
    shape = {name: getattr(alive, name) for name in names.split()}
    more: dict[str, Any] = {"memory": alive.memory, "cpu": one.cpu, "restarts": one.restarts}
    less = {"places": _places(alive), "pressure": alive.pressure}
    return {
        **shape,
        **less,
        **more,
        "up": round(now - alive.since, 1),
        "told": round(now - alive.at, 1),
    }


def _places(alive: Alive) -> int:
    return alive.concurrency if alive.places is None else alive.places


class Onlooker:
    """Looks at a fleet again and again. Dead letters are not read each time: their keys are
    followed."""

    def __init__(self, bus: "Bus") -> None:
        self._bus = bus
        self._meter = Meter()
        self._dead = _DeadKeys(bus)
        self._seldom: _Seldom | None = None

    @asynccontextmanager
    async def followed(self) -> "AsyncIterator[Onlooker]":
        """Follows the dead letters inside the block."""
        following = asyncio.create_task(self._dead.follow())
        try:
            yield self
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def look(self) -> Overview:
        """How things stand. Raises `BusError` while the broker is away."""
        alive = await present(self._bus.store)
        now = time.time()
        self._meter.note(alive, time.monotonic(), wall=now)
        rows = await bound_groups(self._bus, alive)
        dead = await self._dead.counts()
        seldom = await self._look_seldom()
        fleet, paused = seldom.fleet, seldom.paused
        restarts = fleet.restarts()
        crashes = {crash.role: crash for crash in fleet.crashes()}
        known = _Known(alive, dead, restarts, crashes)
        roles = [row for row in rows if not row.role.startswith(PREFIX)]
        return Overview(
            now,
            tuple(self._role(replace(r, paused=r.role in paused), known) for r in roles),
            tuple(
                WorkerNow(one, self._meter.cpu(one.worker), restarts.get((one.host, one.pid)))
                for one in alive
            ),
        )

    async def _look_seldom(self) -> "_Seldom":
        """What changes when people or machines do, as it was at most `_SELDOM` seconds ago."""
        now = time.monotonic()
        if self._seldom is None or now - self._seldom.at >= _SELDOM:
            fleet = await Fleet.read(self._bus.store)
            paused = frozenset(await self._bus.stops.paused())
            self._seldom = _Seldom(now, fleet, paused)
        return self._seldom

    def _role(self, row: Row, known: "_Known") -> RoleNow:
        mine = [one for one in known.alive if one.role == row.role]
        runs, waits = self._meter.runs(row.role), self._meter.waits(row.role)
        kept = [(one.host, one.pid) for one in mine if (one.host, one.pid) in known.restarts]
        return RoleNow(
            row=row,
            slots=sum(map(_places, mine)),
            rates=self._meter.rates(row.role),
            run=(quantile(runs, 0.5), quantile(runs, 0.99)),
            wait=(quantile(waits, 0.5), quantile(waits, 0.99)),
            dead=None if known.dead is None else known.dead.get(row.role, 0),
            restarts=sum(known.restarts[each] for each in kept) if kept else None,
            crash=known.crashes.get(row.role),
        )


@dataclass(frozen=True, slots=True)
class _Seldom:
    """What is looked up less often, and when, by the monotonic clock."""

    at: float
    fleet: Fleet
    paused: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Known:
    """What one look has found out."""

    alive: Sequence[Alive]
    dead: Mapping[str, int] | None
    restarts: Mapping[tuple[str, int], int]
    crashes: Mapping[str, Crash]


class _DeadKeys:
    """How many dead letters each role has: read once, then only what changes."""

    def __init__(self, bus: "Bus") -> None:
        self._bus = bus
        self._keys: defaultdict[str, set[str]] = defaultdict(set)
        self._known = asyncio.Event()
        self._patient = True

    async def counts(self) -> dict[str, int] | None:
        """By role; None while they are not known. The first call waits for them a little."""
        if self._patient:
            self._patient = False
            try:
                async with asyncio.timeout(_FIRST):
                    await self._known.wait()
            except TimeoutError:
                return None
        if not self._known.is_set():
            return None
        return {role: len(found) for role, found in self._keys.items()}

    async def follow(self) -> None:
        """Follow for ever; cancel to stop."""
        while True:
            try:
                async for change in self._bus.store.watch(keys.dead()):
                    self._apply(change)
            except BusError:
                self._known.clear()
            await asyncio.sleep(1.0)

    def _apply(self, change: object) -> None:
        match change:
            case Snapshot(entries=entries):
                self._keys.clear()
                for entry in entries:
                    self._keys[entry.key.split("/")[1]].add(entry.key)
                self._known.set()
            case Written(entry=entry):
                self._keys[entry.key.split("/")[1]].add(entry.key)
            case Removed(key=key):
                self._keys[key.split("/")[1]].discard(key)
