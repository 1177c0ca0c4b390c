"""A fleet of real processes whose history is kept: workers, recorders, and what history says."""

import asyncio
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from bus.backend import Lag
from contracts.clock import SystemClock
from contracts.topics import RECORDER
from knowledge.history.history import History
from tests.brokers import Broker
from tests.processes import NOTHING, WorkerProcesses, worker_processes
from workers.fleet.presence import Alive, present
from workers.history.opening import open_history
from workers.settings import Loaded, load
from workers.wiring import Fleet, open_bus

_POLL = 0.05


@dataclass(frozen=True, slots=True)
class Remembering:
    """A client of the fleet, its processes, and the settings that all of them have."""

    fleet: Fleet
    workers: WorkerProcesses
    loaded: Loaded

    @asynccontextmanager
    async def history(self) -> AsyncIterator[History]:
        """History as those who ask have it: a connection of its own."""
        found = await open_history(self.loaded, SystemClock())
        try:
            yield found
        finally:
            await found.close()

    async def seen(self, role: str, count: int = 1) -> list[Alive]:
        """So many workers of `role`, once they can be seen."""
        while True:
            found = await present(self.fleet.bus.store, role)
            if len(found) >= count:
                return found
            await asyncio.sleep(_POLL)

    async def recording(self) -> int:
        """The process that records at present."""
        while True:
            seen = [one.pid for one in await self.seen(RECORDER) if one.running]
            active = [pid for pid in seen if pid in self.workers.pids]
            if active:
                return active[0]
            await asyncio.sleep(_POLL)

    async def unread(self) -> int:
        """Messages of events that are not settled."""
        return sum((lag.waiting or 0) + (lag.leased or 0) for lag in await self._lags())

    async def held(self) -> int:
        """Messages of events in the hands of recorders."""
        return sum(lag.leased or 0 for lag in await self._lags())

    async def _lags(self) -> list[Lag]:
        lanes = (await self.fleet.bus.lag(RECORDER)).values()
        return [lag for lag in lanes if isinstance(lag, Lag)]

    async def read(self, within: float = 30.0) -> None:
        """Return when everything told is recorded."""
        await until(self._all_read, within)

    async def _all_read(self) -> bool:
        return await self.unread() == 0


@asynccontextmanager
async def remembering(
    server: Broker,
    database: str,
    name: str,
    folder: Path,
    *,
    roles: Path,
    lease: float = 2.0,
    more: Mapping[str, str] = NOTHING,
    anew: bool = False,
) -> AsyncIterator[Remembering]:
    """A fleet called `name`, in whose history nothing is yet and whose processes are still to be
    started, as `WorkerProcesses` does it."""
    flags = {"bus.url": server.url, "fleet.name": name, "fleet.lease": lease}
    loaded = load(folder, flags={**flags, "history.url": database})
    environment = {"MUSTER_HISTORY_URL": database, **more}
    arguments = (server.url, name, folder)
    with worker_processes(
        *arguments, lease=lease, roles=str(roles), more=environment, anew=anew
    ) as workers:
        async with Fleet(await open_bus(loaded), SystemClock()) as fleet:
            yield Remembering(fleet, workers, loaded)


async def until(holds: Callable[[], Awaitable[bool]], within: float = 30.0) -> None:
    """Return once something holds; the test fails if that takes longer."""
    async with asyncio.timeout(within):
        while not await holds():  # noqa: ASYNC110 - it asks a server
            await asyncio.sleep(_POLL)


@dataclass(frozen=True, slots=True)
class Stories:
    """What history tells of all tasks: how many events of each kind a task has, by task, and the
    outcomes of its runs that began."""

    told: Mapping[str, Counter[str]]
    ran: Mapping[str, list[str | None]]

    def incomplete(self, accepted: set[str], end: str = "succeeded") -> set[str]:
        """Which of these tasks were not published, started and ended once each, or are told of
        another end."""
        whole = Counter({"published": 1, end: 1})
        return {
            task
            for task in accepted
            if self.ran.get(task) != [end]
            or {kind: n for kind, n in self.told[task].items() if kind != "started"} != whole
            or self.told[task]["started"] > 1
        }


async def stories(history: History) -> Stories:
    """Everything, read as it lies in the tables: a page of it would hide what is double."""
    told: dict[str, Counter[str]] = {}
    ran: dict[str, list[str | None]] = {}
    async with history.database.link() as link:
        for row in await link.fetch("SELECT task, kind, count(*) FROM events GROUP BY 1, 2"):
            told.setdefault(row[0], Counter())[row[1]] = row[2]
        for row in await link.fetch("SELECT task, outcome FROM runs WHERE started IS NOT NULL"):
            ran.setdefault(row[0], []).append(row[1])
    return Stories(told, ran)


async def scraped(url: str) -> list[Sample]:
    """What a process tells on `/metrics`."""

    def fetch() -> str:
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:  # noqa: S310
            return str(answer.read().decode())

    families = text_string_to_metric_families(await asyncio.to_thread(fetch))
    return [sample for family in families for sample in family.samples]


async def counted(
    history: History, since: float = 0.0, until: float = float("inf")
) -> Counter[str]:
    """How many events of each kind are kept, of those that were told between two wall times."""
    async with history.database.link() as link:
        rows = await link.fetch(
            "SELECT kind, count(*) FROM events WHERE at BETWEEN $1 AND $2 GROUP BY 1", since, until
        )
    return Counter({row[0]: row[1] for row in rows})
