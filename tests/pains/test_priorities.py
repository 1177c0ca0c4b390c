"""Pain 8: priority ignored, reversed or starving. Here the high one starts, and low ones too."""

import asyncio
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from contracts.clock import SystemClock
from contracts.envelope import Priority
from tests.brokers import IMPLEMENTATIONS, Broker, environment, shared, tell
from tests.e2e.fleets import fleet_and_events, traces
from tests.engine.fleets import LiveFleet, made
from workers.engine.intake import LEAST_AHEAD, MOST_AHEAD
from workers.fleet.client import FleetClient
from workers.fleet.options import Options
from workers.fleet.supervisor import Spec, Supervisor
from workers.sdk.context import Context

pytestmark = pytest.mark.slow

LOW, PLACES = 2000, 4
PULLED = MOST_AHEAD + PLACES + LEAST_AHEAD
"""The most tasks that are in a worker's hands, and that start until it pulls again."""

ROLE = f'''\
"""A role that writes down what starts."""

import asyncio
import os
from pathlib import Path

from pydantic import BaseModel

from workers import Context, role

TRACE = Path(__file__).with_name("trace.txt")


class Work(BaseModel):
    seconds: float = 0.0


@role("sorter", listens="sort.#", concurrency={PLACES})
async def sorter(work: Work, ctx: Context) -> None:
    with TRACE.open("a", encoding="utf-8") as file:
        file.write(f"start {{ctx.id}} {{ctx.attempt}} {{ctx.fence}} {{os.getpid()}}\\n")
    await asyncio.sleep(work.seconds)
'''


@dataclass(frozen=True, slots=True)
class Scene:
    """A fleet without a worker yet, to which tasks can be published, and what has started."""

    client: FleetClient
    worker: Callable[[], AbstractAsyncContextManager[object]]
    starts: Callable[[], list[str]]

    async def until(self, count: int) -> list[str]:
        """The ids of what has started, in order, once there are so many."""
        found = self.starts()
        while len(found) < count:
            await asyncio.sleep(0.005)
            found = self.starts()
        return found

    async def fill(self, count: int, priority: Priority, seconds: float = 0.0) -> set[str]:
        """So many tasks of this priority; their ids."""
        work: list[tuple[str, object]] = [("sort.x", {"seconds": seconds})] * count
        options = Options(priority=priority, reply=False)
        return {task.id for task in await self.client.publish_many(work, options)}


@asynccontextmanager
async def in_memory() -> AsyncIterator[Scene]:
    """The worker is in this process."""
    started: list[str] = []

    async def handler(work: dict[str, float], ctx: Context) -> None:
        started.append(ctx.id)
        await asyncio.sleep(work["seconds"])

    fleet = LiveFleet(lease=5.0)
    role = made(handler, "sorter", listens="sort.#", concurrency=PLACES)
    await fleet.client.bus.bind("sorter", ["sort.#"])
    yield Scene(fleet.client, lambda: fleet.running(role), lambda: list(started))


@asynccontextmanager
async def on_broker(server: Broker, folder: Path) -> AsyncIterator[Scene]:
    """The worker is a process of its own."""
    (folder / "sorter.py").write_text(ROLE, encoding="utf-8")
    name = f"pains-{secrets.token_hex(4)}"
    env = {
        "MUSTER_BUS_URL": server.url,
        "MUSTER_FLEET_NAME": name,
        "MUSTER_FLEET_DRAIN": "1",
        "MUSTER_LOG_LEVEL": "warning",
        "MUSTER_ROLES": str(folder),
        "PYTHONPATH": ":".join(filter(None, sys.path)),
        **environment(server),
    }

    @asynccontextmanager
    async def worker() -> AsyncIterator[None]:
        spec = Spec(role="sorter", env=env, log=folder / "worker.log")
        supervisor = Supervisor([spec], SystemClock(), grace=10.0)
        running = asyncio.create_task(supervisor.run())
        try:
            await supervisor.ready()
            yield
        finally:
            supervisor.stop()
            await running

    def starts() -> list[str]:
        return [trace.task for trace in traces(folder)]

    async with fleet_and_events(server.url, name, folder) as (fleet, _):
        await fleet.bus.bind("sorter", ["sort.#"])
        yield Scene(fleet, worker, starts)


@pytest.fixture(params=IMPLEMENTATIONS)
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    """The same on all."""
    if request.param == "memory":
        async with in_memory() as made_:
            yield made_
    else:
        broker = tell(shared(request, request.param), tmp_path)
        async with on_broker(broker, tmp_path) as made_:
            yield made_


@pytest.mark.promise(7)
async def test_a_high_task_starts_before_thousands_of_low_ones(scene: Scene) -> None:
    """7: within a second, and what was pulled before; here it starts as one of the next."""
    await scene.fill(LOW, Priority.LOW, 0.004)
    async with scene.worker(), asyncio.timeout(30):
        await scene.until(100)
        (high,) = await scene.fill(1, Priority.HIGH)
        before, published = len(scene.starts()), time.monotonic()
        started = scene.starts()
        while high not in started:
            await asyncio.sleep(0.005)
            started = scene.starts()
        seconds, after = time.monotonic() - published, started.index(high) - before
    print(f"started {seconds * 1e3:.0f} ms after it was published, behind {after} others")
    assert seconds < 1.0 or after <= PULLED
    assert after < LOW / 2, "it waited for its turn among the low ones"


@pytest.mark.promise(7)
async def test_low_tasks_start_while_high_ones_wait(scene: Scene) -> None:
    """7: one start in ten, at every moment: what comes late from a busy broker is made up for."""
    low = await scene.fill(200, Priority.LOW)
    await scene.fill(900, Priority.HIGH)
    async with scene.worker(), asyncio.timeout(30):
        started = await scene.until(1000)
    ahead, count = [0.0], 0
    for number, id_ in enumerate(started[:1000], start=1):
        count += id_ in low
        ahead.append(count - number / 10)
    print(f"low ones started, less a tenth: {min(ahead):.1f} to {max(ahead):.1f}")
    assert min(ahead) >= -4
    assert max(ahead) <= 4
