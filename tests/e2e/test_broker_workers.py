"""Real worker processes on each broker, with its bus database where it needs one."""

import asyncio
import secrets
from pathlib import Path

import pytest

from contracts.clock import SystemClock
from tests.brokers import Broker
from tests.e2e.fleets import TRACER, bound, traces
from tests.processes import worker_processes
from workers.settings import load
from workers.wiring import Fleet, open_bus

pytestmark = pytest.mark.slow


async def test_work_goes_on_when_a_worker_is_killed(broker: Broker, tmp_path: Path) -> None:
    """Each task is done; what the killed one ran is run again, and only that; one that was asked
    to wait comes at its time."""
    name, roles = f"e2e-{secrets.token_hex(4)}", tmp_path / "roles"
    roles.mkdir()
    (roles / "tracer.py").write_text(TRACER, encoding="utf-8")
    flags, more = {"bus.url": broker.url, "fleet.name": name}, {"MUSTER_HISTORY_URL": "none"}
    arguments = (broker.url, name, tmp_path)
    with worker_processes(*arguments, roles=str(roles), more=more) as workers:
        workers.start("tracer", 2)
        bus = await open_bus(load(tmp_path, flags=flags))
        async with Fleet(bus, SystemClock()) as fleet, asyncio.timeout(90):
            await bound(fleet, "tracer", count=2)
            quick = await fleet.publish_many([("trace.quick", {"seconds": 0.0})] * 100)
            await asyncio.gather(*(task.result(60) for task in quick))
            later = await fleet.publish("trace.later", {"seconds": 0.0}, delay=2.0)
            slow = await fleet.publish_many([("trace.slow", {"seconds": 1.0})] * 6)
            victim = await holder(roles, {task.id for task in slow})
            workers.kill(victim)
            await asyncio.gather(*(task.result(60) for task in (*slow, later)))
    starts = [t for t in traces(roles) if t.what == "start"]
    again = {t.task for t in starts if sum(s.task == t.task for s in starts) > 1}
    assert again <= {t.task for t in starts if t.pid == victim}
    assert len({t.task for t in starts}) == 107


async def holder(roles: Path, tasks: set[str]) -> int:
    """The process that has begun one of these; it may have all of them."""
    while True:
        for each in traces(roles):
            if each.task in tasks:
                return each.pid
        await SystemClock().sleep(0.05)
