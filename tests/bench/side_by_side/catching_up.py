"""How fast a recorder writes into PostgreSQL what a timed worker has told of its tasks."""

import asyncio
import time
from pathlib import Path

from bus.bus import Bus
from contracts.clock import SystemClock
from contracts.topics import RECORDER
from knowledge.history.history import History
from tests.bench.side_by_side.timing import FLEET
from tests.servers import PostgresServer, open_folder
from workers.history.recorder import Recorder
from workers.settings import load
from workers.wiring import open_bus


async def recorded(url: str) -> float:
    """Events per second, once started, until none is unread."""
    with open_folder() as folder:
        postgres = PostgresServer(folder / "state")
        await asyncio.to_thread(postgres.start)
        try:
            flags = {"bus.url": url, "fleet.name": FLEET, "history.url": postgres.url}
            bus = await open_bus(load(Path(folder), flags=flags))
            rate = await _caught_up(bus, postgres.url)
            await bus.close()
        finally:
            await asyncio.to_thread(postgres.stop)
    return rate


async def _caught_up(bus: Bus, database: str) -> float:
    clock = SystemClock()
    recorder = Recorder(bus, lambda: History.open(database, clock), clock, name="b", lease=10.0)
    began = time.perf_counter()
    run = asyncio.create_task(recorder.run())
    while await bus._unread() or not recorder.counts.recorded:  # noqa: ASYNC110 - it rings no bell
        await asyncio.sleep(0.05)
    lags = (await bus._backend.lag(RECORDER)).values()
    while sum(lag.leased or 0 for lag in lags):
        await asyncio.sleep(0.02)
        lags = (await bus._backend.lag(RECORDER)).values()
    took = time.perf_counter() - began
    recorder.stop()
    await run
    return recorder.counts.recorded / took
