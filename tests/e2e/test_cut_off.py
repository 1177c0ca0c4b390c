"""A machine whose supervisor alone loses the bus: its workers do not double those of others."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contracts.clock import SystemClock
from tests.cli.running import GREETER
from tests.proxy import proxied
from tests.servers import NatsServer
from workers.cli.crewing import Parts, Plan, parts_of
from workers.fleet.machine import Offer
from workers.fleet.seat import Seat, Spec, State, worker_command
from workers.fleet.supervisor import Supervisor
from workers.settings import load
from workers.wiring import open_bus

pytestmark = [pytest.mark.nats, pytest.mark.slow]

LEASE = 2.0


@asynccontextmanager
async def machine(folder: Path, fleet: str, url: str, workers: str) -> AsyncIterator[Parts]:
    """What `up` runs: its own connection goes to `url`, those of its workers to `workers`."""
    flags = {"bus.url": url, "fleet.name": fleet, "fleet.lease": LEASE}
    loaded = load(folder, flags=flags, environment={})
    environment = {
        "MUSTER_BUS_URL": workers,
        "MUSTER_FLEET_NAME": fleet,
        "MUSTER_FLEET_LEASE": str(LEASE),
        "MUSTER_ROLES": str(folder),
    }
    spec = Spec("greeter", environment, worker_command("greeter"), log=folder / "workers.log")
    plan = Plan(loaded, {"greeter": spec}, {"greeter": Offer(2)}, {}, json=False)
    bus = await open_bus(loaded)
    parts = parts_of(plan, bus, Supervisor((), SystemClock()))
    parts.supervisor.changed = parts.crew.changed
    running = asyncio.create_task(parts.run())
    try:
        yield parts
    finally:
        parts.stop()
        await running
        await bus.close()


def staying(parts: Parts) -> list[Seat]:
    """Those who keep a process that takes tasks."""
    found = [seat for seat in parts.supervisor.seats() if not seat.stopping]
    return [seat for seat in found if seat.info.state is State.READY]


async def until(what: Callable[[], bool], seconds: float) -> None:
    """Wait for what two machines come to."""
    async with asyncio.timeout(seconds):
        while not what():  # noqa: ASYNC110 - nobody rings a bell
            await asyncio.sleep(0.02)


async def test_a_machine_that_alone_lost_the_bus_drains_its_workers(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    (tmp_path / "greeter.py").write_text(GREETER, encoding="utf-8")
    fleet = f"cut-{secrets.token_hex(4)}"
    async with (
        proxied(nats_server.url) as proxy,
        machine(tmp_path, fleet, nats_server.url, nats_server.url) as well,
        machine(tmp_path, fleet, proxy.url, nats_server.url) as cut,
    ):
        await until(lambda: [len(staying(well)), len(staying(cut))] == [1, 1], 40)
        (lost,) = staying(cut)
        proxy.hang()
        await until(lambda: len(staying(well)) == 2, 20)
        await until(lambda: lost.info.state is State.ENDED, 40)
        assert lost.info.exit_code == 0, "it drained"
        await proxy.mend()
        await until(lambda: [len(staying(well)), len(staying(cut))] == [1, 1], 40)
