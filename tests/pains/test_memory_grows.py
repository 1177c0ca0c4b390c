"""Pain 14: memory grows, delayed tasks sit in it, an idle fleet melts its broker."""

import asyncio
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bus.backend import RETRY, Lag
from contracts.clock import SystemClock
from tests.e2e.fleets import bound, fleet_and_events
from tests.forms import form
from tests.pains.journal import Runs, sleepers
from tests.processes import worker_processes
from tests.servers import NatsServer
from tests.watching import messages, operations, resident
from workers.fleet.client import Task
from workers.fleet.options import Options
from workers.settings import load
from workers.wiring import Fleet, open_bus

pytestmark = [pytest.mark.nats, pytest.mark.slow]


@pytest.fixture
def name() -> str:
    """A fleet of the test's own."""
    return f"grow-{secrets.token_hex(4)}"


@pytest.mark.long(180)
@pytest.mark.promise(18)
async def test_an_idle_fleet_leaves_its_broker_alone(
    own_nats: Callable[[], NatsServer], name: str, tmp_path: Path, happened: Callable[[str], None]
) -> None:
    """By the server's own count: everything its workers send, presence and keepers included, is
    less than one operation per second and worker."""
    server, roles, count = own_nats(), sleepers(tmp_path), 4
    arguments = (server.url, name, tmp_path)
    seconds = form(4.0, 90.0)
    with worker_processes(*arguments, lease=10.0, roles=str(roles)) as workers:
        workers.start("sleeper", count)
        bus = await open_bus(load(tmp_path, flags={"bus.url": server.url, "fleet.name": name}))
        async with Fleet(bus, SystemClock()) as fleet, asyncio.timeout(30):
            await bound(fleet, "sleeper", count=count)
            await (await fleet.publish("nap.x", {"seconds": 0.0})).result(10)
            await swept(server, name)
        before, began = operations(server), time.monotonic()
        await asyncio.sleep(seconds)
        found = (operations(server) - before) / (time.monotonic() - began) / count
    happened(f"{count} idle workers: {found:.2f} operations/s each over {seconds:g} s")
    assert found < 1.0


@pytest.mark.long(1500)
@pytest.mark.promise(8)
async def test_delayed_tasks_cost_a_worker_no_memory(
    own_nats: Callable[[], NatsServer], name: str, tmp_path: Path, happened: Callable[[str], None]
) -> None:
    """Short: 20,000; long: a million. The worker goes on working beside them, and each is still
    there."""
    server, roles = own_nats(), sleepers(tmp_path)
    arguments = (server.url, name, tmp_path)
    count, call = form(20_000, 1_000_000), 500
    with worker_processes(*arguments, lease=10.0, roles=str(roles)) as workers:
        (pid,) = workers.start("sleeper")
        async with fleet_and_events(*arguments) as (fleet, _):
            await bound(fleet, "sleeper")
            await asyncio.gather(*[task.result(20) for task in await naps(fleet, 200)])
            before, began = resident(pid), time.monotonic()
            options = Options(delay=24 * 3600.0, reply=False)
            for _ in range(count // call):
                await fleet.publish_many([("nap.later", {"seconds": 0.0})] * call, options)
            rate = count / (time.monotonic() - began)
            await asyncio.gather(*[task.result(20) for task in await naps(fleet, 200)])
            after = resident(pid)
            lag = (await fleet.bus.lag("sleeper"))[RETRY]
    happened(
        f"{count} delayed at {rate:.0f}/s: worker {before:.1f} MiB before, {after:.1f} MiB after"
    )
    assert isinstance(lag, Lag)
    assert lag.delayed == count
    assert after - before < 8.0
    assert Runs(roles).look().ended.total() == 400


async def swept(server: NatsServer, name: str) -> None:
    """Nothing of what has worked is left to be cleared away."""
    while True:
        left = await asyncio.to_thread(messages, server, name)
        if left and not any(n for stream, n in left.items() if not stream.startswith("KV_")):
            return
        await asyncio.sleep(0.2)


async def naps(fleet: Fleet, count: int) -> list[Task]:
    """Tasks that are over at once."""
    return await fleet.publish_many([("nap.x", {"seconds": 0.0})] * count)
