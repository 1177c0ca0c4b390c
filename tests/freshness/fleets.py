"""A fleet of real processes that can be scaled: kept by this process, or by `muster up`."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from contracts.clock import SystemClock
from contracts.topics import RECORDER
from tests.cli.running import Muster
from tests.freshness.sampler import ROLE
from workers.cli.crewing import Plan, parts_of
from workers.fleet import orders
from workers.fleet.machine import Offer
from workers.fleet.orders import Order
from workers.fleet.seat import Spec, worker_command
from workers.fleet.supervisor import Supervisor
from workers.settings import load
from workers.wiring import open_bus

SECONDS = 60.0

Scale: TypeAlias = Callable[[int], Awaitable[None]]
"""Orders so many workers."""


@asynccontextmanager
async def within(muster: Muster) -> AsyncIterator[Scale]:
    """Supervised by this process as `muster up` does it, and scaled as `muster scale` does: for a
    short test that has no time to start commands."""
    loaded = load(muster.folder, environment=muster.environment)
    folder = ("--folder", str(muster.folder))
    specs = {
        role: Spec(
            role,
            muster.environment,
            [*worker_command(role), *folder],
            log=muster.folder / f"{role}.log",
        )
        for role in (ROLE, RECORDER)
    }
    plan = Plan(loaded, specs, dict.fromkeys(specs, Offer()), {}, json=False)
    bus = await open_bus(loaded)
    parts = parts_of(plan, bus, Supervisor((), SystemClock(), grace=SECONDS))
    parts.supervisor.changed = parts.crew.changed

    async def scale(count: int) -> None:
        await orders.give(bus.store, ROLE, Order(count, "ada@h", time.time()), present=0)

    running = asyncio.create_task(parts.run())
    try:
        await parts.crew.ready()
        yield scale
    finally:
        parts.stop()
        await running
        await bus.close()


@asynccontextmanager
async def commanded(muster: Muster) -> AsyncIterator[Scale]:
    """Supervised by `muster up`, scaled by `muster scale`."""

    async def scale(count: int) -> None:
        done = await asyncio.to_thread(muster, "scale", f"{ROLE}={count}")
        assert done.code == 0, done.err

    process = muster.start("up", ROLE, "--json")
    try:
        assert process.stdout is not None
        await asyncio.to_thread(process.stdout.readline)
        yield scale
    finally:
        process.send_signal(signal.SIGINT)
        await asyncio.to_thread(process.communicate, timeout=SECONDS)
