"""Pain 1: a task is lost when its worker is killed. Here every accepted id ends."""

import asyncio
import secrets
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import Broker
from tests.e2e.fleets import bound, fleet_and_events
from tests.engine.fleets import LEASE, ManualFleet, Member, made
from tests.forms import form
from tests.freezing import freeze
from tests.pains.journal import Run, Runs, sleepers
from tests.pains.publisher import publishing
from tests.processes import WorkerProcesses, worker_processes
from workers.sdk.context import Context

WORKERS = 4


@pytest.mark.slow
@pytest.mark.long(900)
@pytest.mark.promise(12, 14)
async def test_every_accepted_task_ends_though_workers_are_killed_in_the_middle(
    broker: Broker, tmp_path: Path, happened: Callable[[str], None]
) -> None:
    """Worker processes are killed with -9, each while a handler runs there, and replaced; a
    process of its own logs what was accepted. Each id ends; nothing innocent dies of `crash`."""
    kills, count = form((5, 300), (100, 10_000))
    fleet_name, roles = f"lost-{secrets.token_hex(4)}", sleepers(tmp_path)
    arguments = (broker.url, fleet_name, tmp_path)
    runs, killed = Runs(roles), list[Run]()
    with worker_processes(*arguments, lease=2.0, roles=str(roles)) as workers:
        alive = workers.start("sleeper", WORKERS)
        async with fleet_and_events(*arguments) as (fleet, _), asyncio.timeout(form(60, 800)):
            await bound(fleet, "sleeper", count=2)
            with publishing(*arguments, "nap.x", rate=100.0) as publisher:
                while len(killed) < kills or publisher.look() < count:
                    if len(killed) < kills:
                        killed.append(await kill_one_that_runs(workers, alive, runs))
                    await asyncio.sleep(form(0.1, 0.5))
                accepted = publisher.stop()
            await runs.until(lambda: set(publisher.accepted) <= set(runs.ended))
            letters = [letter async for letter in fleet.bus.dead.all("sleeper")]
    interrupted = sum(not runs.has_ended(run) for run in killed)
    doubles = sum(ends - 1 for ends in runs.ended.values())
    happened(
        f"accepted {accepted}, kills {len(killed)}, each interrupting one: {interrupted}, "
        f"run again {runs.again}, ended twice {doubles}, lost 0, dead letters {len(letters)}"
    )
    assert interrupted == len(killed)
    assert letters == []


async def kill_one_that_runs(workers: WorkerProcesses, alive: list[int], runs: Runs) -> Run:
    """Kill a worker that stands still in the middle of a handler; put another in its place."""
    while True:
        busy = [pid for pid in alive if runs.look().unended(pid)]
        for pid in busy:
            freeze(pid)
            found = runs.look().unended(pid)
            if found:
                workers.kill(pid)
                alive.remove(pid)
                alive += workers.start("sleeper")
                return found[-1]
            thaw(workers, pid)
        await asyncio.sleep(0.01)


def thaw(workers: WorkerProcesses, pid: int) -> None:
    """It had nothing in its hands: let it go on."""
    workers.signal(pid, signal.SIGCONT)


class Mortals:
    """Workers in memory, killed together with what runs in them."""

    def __init__(self, fleet: ManualFleet) -> None:
        self.fleet = fleet
        self.ended: Counter[int] = Counter()
        self.running: dict[str, set[int]] = {}
        self.alive: dict[str, Member] = {}
        self._number = 0

    async def start(self) -> None:
        """One more worker."""
        self._number += 1
        name = f"m{self._number}"
        self.running[name] = set()

        async def handler(payload: Any, ctx: Context) -> None:
            self.running[name].add(payload)
            await self.fleet.clock.sleep(0.02 + payload % 10 * 0.02)
            if name not in self.alive:
                await asyncio.Event().wait()
            self.running[name].discard(payload)
            self.ended[payload] += 1

        role = made(handler, concurrency=4, attempts=30)
        self.alive[name] = await self.fleet.start(role, name=name, drain=0.0)

    async def kill_one_that_runs(self) -> set[int]:
        """What it had been running."""
        await self.fleet.until(lambda: any(self.running[name] for name in self.alive), LEASE * 3)
        name = next(name for name in self.alive if self.running[name])
        member = self.alive.pop(name)
        await member.crash()
        await self.start()
        return self.running[name]


@pytest.mark.promise(12, 14)
async def test_every_task_ends_though_workers_die_by_the_clock(
    happened: Callable[[str], None],
) -> None:
    """The same on the in-memory broker."""
    kills, count = form((15, 300), (120, 5_000))
    fleet = ManualFleet()
    try:
        mortals = Mortals(fleet)
        for _ in range(WORKERS):
            await mortals.start()
        await fleet.client.publish_many([("work.a", number) for number in range(count)])
        interrupted = 0
        for _ in range(kills):
            interrupted += bool(await mortals.kill_one_that_runs())
            await fleet.clock.advance(0.2)
        await fleet.until(lambda: len(mortals.ended) == count)
        letters = await fleet.dead()
    finally:
        await fleet.close()
    doubles = mortals.ended.total() - count
    happened(f"tasks {count}, kills {kills}, interrupting {interrupted}, ended twice {doubles}")
    assert (interrupted, letters) == (kills, [])
