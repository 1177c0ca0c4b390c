"""Real worker processes on two buses: the first, or both, go away under load and come back."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bus.opening import Parts
from contracts.clock import SystemClock
from tests.e2e.fleets import bound
from tests.pains.journal import Runs, sleepers
from tests.pairs import Pair
from tests.processes import worker_processes
from workers.fleet.options import Options
from workers.settings import load
from workers.wiring import Fleet, bus_over, open_parts

pytestmark = pytest.mark.slow

DELAY = 8.0
"""Seconds a publisher may be held up by a first bus that goes away, on a busy machine: once for the
call that is not answered, once more for one that was under way when it came back."""

LEASE = 3.0


class Stream:
    """Tasks published one call after the other. No error may come: it ends the test."""

    def __init__(self, fleet: Fleet) -> None:
        self.accepted: set[str] = set()
        self.longest = 0.0
        self._fleet = fleet
        self._stop, self._news = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the block runs."""
        publishing = asyncio.create_task(self._publish())
        try:
            yield
        finally:
            self._stop.set()
            await publishing

    async def more(self, count: int) -> None:
        """Return when so many more were accepted."""
        wanted = len(self.accepted) + count
        while len(self.accepted) < wanted and not self._stop.is_set():
            self._news.clear()
            await self._news.wait()

    async def _publish(self) -> None:
        clock = SystemClock()
        try:
            while not self._stop.is_set():
                began = clock.monotonic()
                calls = [("nap.x", {"seconds": 0.05})] * 5
                accepted = await self._fleet.publish_many(calls, Options(reply=False))
                self.longest = max(self.longest, clock.monotonic() - began)
                self.accepted |= {task.id for task in accepted}
                self._news.set()
                await asyncio.sleep(0.05)
        finally:
            self._stop.set()
            self._news.set()


@pytest.mark.parametrize("how", ["killed", "hangs", "both"])
async def test_a_fleet_works_on_while_its_first_bus_is_away(
    pair: Pair, tmp_path: Path, happened: Callable[[str], None], how: str
) -> None:
    """A publisher sees at most a delay, every accepted task ends, and the first bus is used again
    when it is back. With both away the publisher waits until one is back, which is enough."""
    name, roles = f"two-{secrets.token_hex(4)}", sleepers(tmp_path)
    more = {"MUSTER_HISTORY_URL": "none"}
    arguments = (pair.url, name, tmp_path)
    runs = Runs(roles)
    with worker_processes(*arguments, lease=LEASE, roles=str(roles), more=more) as workers:
        workers.start("sleeper", 2)
        async with _connected(pair, name, tmp_path) as (fleet, parts), asyncio.timeout(100):
            await bound(fleet, "sleeper", count=2)
            stream = Stream(fleet)
            async with stream.running():
                await stream.more(100)
                await _away(pair, how)
                await stream.more(100)
                found = (await parts.examine()).route
                assert found is not None
                assert found.fallback
                await _back(pair, how)
                await _first_in_use(parts)
                await stream.more(100)
            await runs.until(lambda: stream.accepted <= set(runs.ended))
            letters = [letter async for letter in fleet.bus.dead.all("sleeper")]
    doubles = sum(ends - 1 for ends in runs.ended.values())
    happened(
        f"{how}: {len(stream.accepted)} accepted, the longest publish took {stream.longest:.1f} s, "
        f"{runs.again} started again, {doubles} ended twice, dead letters {len(letters)}"
    )
    assert letters == []
    assert doubles == 0
    assert how == "both" or stream.longest < DELAY


async def _away(pair: Pair, how: str) -> None:
    if how == "both":
        await asyncio.to_thread(pair.kill)
        await asyncio.to_thread(pair.second.start)
    else:
        await asyncio.to_thread(pair.first.kill if how == "killed" else pair.first.freeze)


async def _back(pair: Pair, how: str) -> None:
    await asyncio.to_thread(pair.first.thaw if how == "hangs" else pair.first.start)


async def _first_in_use(parts: Parts) -> None:
    while True:
        route = (await parts.examine()).route
        if route is not None and not route.fallback:
            return
        await asyncio.sleep(0.1)


@asynccontextmanager
async def _connected(pair: Pair, name: str, folder: Path) -> AsyncIterator[tuple[Fleet, Parts]]:
    flags = {"bus.url": pair.url, "fleet.name": name, "fleet.lease": LEASE}
    loaded, clock = load(folder, flags=flags), SystemClock()
    parts = await open_parts(loaded, clock, "test")
    async with Fleet(bus_over(parts, loaded, clock, source="test"), clock) as fleet:
        yield fleet, parts
