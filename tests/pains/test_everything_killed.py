"""Workers and the broker die beside each other, under load: every accepted task ends."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.beside import beside
from tests.brokers import Broker
from tests.e2e.fleets import bound, fleet_and_events
from tests.forms import form
from tests.freezing import freeze
from tests.pains.journal import Run, Runs, sleepers
from tests.pains.publisher import Publisher, publishing
from tests.pains.test_lost_tasks import thaw
from tests.processes import WorkerProcesses, worker_processes
from workers.fleet.client import FleetClient

WORKERS = 4
ATTEMPTS = 10
LEASE = 2.0


@dataclass(slots=True)
class Havoc:
    """Who was killed when, and what had been running there. Wall times in seconds."""

    server: Broker
    workers: WorkerProcesses
    runs: Runs
    publisher: Publisher
    alive: list[int]
    interrupted: dict[Run, float] = field(default_factory=dict)
    kills: int = 0
    unfinished: list[int] = field(default_factory=list)
    back: list[float] = field(default_factory=list)

    async def kill_workers(self, every: float) -> None:
        """One with something in its hands each time, and another takes its place."""
        while True:
            await asyncio.sleep(every)
            await self.runs.until(self._kill_one)

    def _kill_one(self) -> bool:
        for pid in [pid for pid in self.alive if self._held(pid)]:
            freeze(pid)
            found = self._held(pid)
            if found:
                self.interrupted.update(dict.fromkeys(found, time.time()))
                self.workers.kill(pid)
                self.alive.remove(pid)
                self.alive += self.workers.start("sleeper")
                self.kills += 1
                return True
            thaw(self.workers, pid)
        return False

    def _held(self, pid: int) -> list[Run]:
        """What runs in a worker: in itself, or in a child process if it was interrupted before."""
        left = [run for run in self.runs.look().open if run not in self.interrupted]
        return [run for run in left if run.pid == pid or _is_child(run.pid, pid)]

    async def kill_broker(self, least: int, accepted: float) -> None:
        """Once so much was accepted and so much of it is unfinished; returns when a run has begun
        that it handed out after it answered again."""
        await self.runs.until(lambda: self.publisher.look() >= accepted and self.left() >= least)
        self.unfinished.append(self.left())
        await asyncio.to_thread(self.server.kill)
        await asyncio.to_thread(self.server.start)
        answered = time.time()
        await self.runs.until(lambda: self._since(answered) > 0)
        self.back.append(self._since(answered))

    def left(self) -> int:
        """Accepted and not ended."""
        return self.publisher.look() - len(self.runs.look().ended)

    def _since(self, moment: float) -> float:
        """Seconds from then to the first run that began after it; 0 before one did."""
        later = (at - moment for at in self.runs.began.values() if at > moment)
        return next(later, 0.0)

    async def all_over(self, dead: Callable[[], Awaitable[list[str]]]) -> list[str]:
        """The dead letters, once everything that was accepted has ended or is one."""
        while True:
            ended, letters = self.runs.look().ended, await dead()
            if set(self.publisher.accepted) <= {*ended, *letters}:
                return letters
            await asyncio.sleep(0.2)

    def false(self, letters: Sequence[str]) -> list[str]:
        """Those of tasks that were interrupted fewer times than they have attempts."""
        times = Counter(run.task for run in self.interrupted)
        return [id_ for id_ in letters if times[id_] < ATTEMPTS]

    def recoveries(self) -> list[float]:
        """From each kill of a worker to the next run of each task that it held, sorted."""
        later = ((self.runs.after(run), at) for run, at in self.interrupted.items())
        return sorted(after - at for after, at in later if after is not None)


@pytest.mark.slow
@pytest.mark.long(1200)
@pytest.mark.promise(1, 9, 12, 14)
async def test_whoever_is_killed_under_load_every_accepted_task_ends(
    own_broker: Callable[[], Broker], tmp_path: Path, happened: Callable[[str], None]
) -> None:
    """Tasks of 20 to 200 ms; the broker and workers die while the publisher goes on, and workers
    until enough of them have. A task is a false dead letter if it was interrupted fewer times than
    it has attempts."""
    count, kills, least, every = form((600, 1, 100, 0.5), (20_000, 3, 2_000, 1.0))
    enough = form(2, 30)
    server, name = own_broker(), f"havoc-{secrets.token_hex(4)}"
    roles = sleepers(tmp_path, concurrency=8, attempts=ATTEMPTS)
    arguments, runs = (server.url, name, tmp_path), Runs(roles)
    with worker_processes(*arguments, lease=LEASE, roles=str(roles)) as workers:
        alive = workers.start("sleeper", WORKERS)
        async with fleet_and_events(*arguments) as (fleet, _), asyncio.timeout(form(100, 1100)):
            await bound(fleet, "sleeper", count=2)
            with publishing(*arguments, "nap.x", rate=form(300.0, 500.0)) as publisher:
                havoc = Havoc(server, workers, runs, publisher, alive)
                async with beside(workers.keep("sleeper", alive)):
                    async with beside(havoc.kill_workers(every)):
                        for number in range(kills):
                            await havoc.kill_broker(least, count * (number + 1) / (kills + 1))
                        await runs.until(lambda: publisher.look() >= count)
                        accepted = await asyncio.to_thread(publisher.stop)
                        await runs.until(lambda: havoc.kills >= enough or havoc.left() < least / 2)
                    letters = await havoc.all_over(partial(_dead, fleet))
    happened(_told(havoc, accepted, letters))
    assert havoc.false(letters) == []
    assert min(havoc.unfinished) >= least
    assert havoc.kills >= enough


async def _dead(fleet: FleetClient) -> list[str]:
    return [letter.id async for letter in fleet.bus.dead.all("sleeper")]


def _is_child(pid: int, worker: int) -> bool:
    try:
        return worker in (parent.pid for parent in psutil.Process(pid).parents())
    except psutil.NoSuchProcess:
        return False


def _told(havoc: Havoc, accepted: int, letters: Sequence[str]) -> str:
    recoveries, runs = havoc.recoveries(), havoc.runs
    middle, late = recoveries[len(recoveries) // 2], recoveries[int(len(recoveries) * 0.99)]
    doubles = sum(ends - 1 for ends in runs.ended.values())
    lost = len(set(havoc.publisher.accepted) - {*runs.ended, *letters})
    back = ", ".join(f"{seconds:.2f}" for seconds in havoc.back)
    return (
        f"accepted {accepted}, {havoc.kills} workers killed with {len(havoc.interrupted)} runs; "
        f"run again after p50 {middle:.2f}, p99 {late:.2f}, max {recoveries[-1]:.2f} s; broker "
        f"killed with {havoc.unfinished} unfinished, work {back} s after it answered again; "
        f"run more than once {runs.again}, ended twice {doubles}, lost {lost}, "
        f"dead letters {len(letters)}, false {len(havoc.false(letters))}"
    )
