"""Pain 5: recovery waits for a dead recoverer. Here the next one takes over as soon as the first
one did."""

import asyncio
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.events import Kind
from tests.brokers import Broker
from tests.e2e.fleets import bound, fleet_and_events
from tests.engine.fleets import LEASE, ManualFleet, Member, made
from tests.forms import form
from tests.pains.journal import sleepers
from tests.processes import worker_processes
from workers.sdk.context import Context

BUSY = 3.0
"""Seconds beyond the lease that a busy machine may need to hear that a child process has started;
the conformance suite holds the hand-over to one second."""


@pytest.mark.slow
@pytest.mark.long(120)
@pytest.mark.promise(12)
async def test_who_took_over_is_killed_too_and_the_next_takes_over_in_time(
    broker: Broker, tmp_path: Path, happened: Callable[[str], None]
) -> None:
    """Each is killed with -9 in the middle of the same task; each heir starts it in time."""
    lease, deaths = 2.0, form(2, 8)
    name, roles = f"heirs-{secrets.token_hex(4)}", sleepers(tmp_path)
    arguments = (broker.url, name, tmp_path)
    starts: list[float] = []
    kills: list[float] = []
    with worker_processes(*arguments, lease=lease, roles=str(roles)) as workers:
        workers.start("sleeper", deaths + 1)
        async with fleet_and_events(*arguments) as (fleet, heard), asyncio.timeout(90):
            await bound(fleet, "sleeper", count=deaths + 1)
            task = await fleet.publish("nap.x", {"seconds": 60.0})
            holders: list[int] = []
            for _ in range(deaths + 1):
                started = await heard.until(
                    lambda e: e.task == task.id and e.kind is Kind.STARTED and e.pid not in holders
                )
                starts.append(time.monotonic())
                holders.append(started.pid)
                kills.append(time.monotonic())
                workers.kill(started.pid)
    took = [start - kill for kill, start in zip(kills, starts[1:], strict=False)]
    happened(f"{deaths} holders killed in a row, taken over after {[round(t, 2) for t in took]} s")
    assert max(took) <= lease + form(BUSY, 1.0)


@pytest.mark.promise(12)
async def test_a_worker_that_reclaims_dies_and_the_next_one_reclaims_in_time() -> None:
    """The same by the clock's hand."""
    fleet = ManualFleet()
    holders: list[Member] = []

    async def start() -> None:
        async def handler(payload: Any, ctx: Context) -> None:
            holders.append(member)
            await asyncio.Event().wait()

        member = await fleet.start(made(handler, attempts=9), drain=0.0)

    for _ in range(4):
        await start()
    await fleet.client.publish("work.a", None)
    for heirs in range(1, 4):
        await fleet.until(lambda heirs=heirs: len(holders) == heirs, LEASE + 1.0)  # type: ignore[misc]
        holders[-1].cut_off()
        fleet.broker.crash(holders[-1].backend)
    await fleet.until(lambda: len(holders) == 4, LEASE + 1.0)
    assert len({id(member) for member in holders}) == 4
    await fleet.close()
