"""Pain 3: a long task runs twice because the lease was a guess. Here it is renewed, and a holder
that was cut off can do no harm."""

import asyncio
import random
import secrets
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from contracts.events import Kind
from contracts.topics import RECORDER
from knowledge.history.history import History
from tests.brokers import Broker
from tests.e2e.fleets import Heard, bound, fleet_and_events
from tests.engine.fleets import LEASE, ManualFleet, made
from tests.forms import form
from tests.freezing import freeze
from tests.networks import between
from tests.pains.journal import Runs, sleepers
from tests.pains.remembering import Remembering, remembering, until
from tests.processes import WorkerProcesses, worker_processes
from workers.fleet.client import Task
from workers.sdk.context import Context
from workers.wiring import Fleet

BUSY = 3.0
"""Seconds beyond the lease that a busy machine may need to hear that a child process has started;
the conformance suite holds the hand-over to one second."""

Pair = tuple[Fleet, Heard, WorkerProcesses, Runs]


@asynccontextmanager
async def two_workers(server: Broker, folder: Path, lease: float) -> AsyncIterator[Pair]:
    """Two workers of one place each, either of which takes what the other loses."""
    name, roles = f"long-{secrets.token_hex(4)}", sleepers(folder)
    with (folder / "muster.toml").open("a", encoding="utf-8") as settings:
        settings.write("[roles.sleeper]\nconcurrency = 1\n")
    arguments = (server.url, name, folder)
    with worker_processes(*arguments, lease=lease, roles=str(roles)) as workers:
        workers.start("sleeper", 2)
        async with fleet_and_events(*arguments) as (fleet, heard):
            await bound(fleet, "sleeper", count=2)
            yield fleet, heard, workers, Runs(roles)


@pytest.mark.slow
@pytest.mark.long(700)
@pytest.mark.promise(13)
async def test_a_task_of_many_leases_is_run_once_by_a_process(
    broker: Broker, tmp_path: Path, happened: Callable[[str], None]
) -> None:
    """Long: a lease of ten seconds and a task of ten minutes."""
    lease, seconds = form((2.0, 6.1), (10.0, 600.0))
    async with two_workers(broker, tmp_path, lease) as (fleet, heard, _, runs):
        task = await fleet.publish("nap.x", {"seconds": seconds})
        end = await task.outcome(seconds + 30.0)
        await fleet.publish("nap.x", {"seconds": 0.0}, priority="low")
        assert (end.attempt, end.fence, heard.starts(task.id)) == (1, 0, 1)
        assert runs.look().started[task.id] == 1
    happened(f"a task of {seconds:g} s with a lease of {lease:g} s: run once")


@pytest.mark.slow
@pytest.mark.long(120)
@pytest.mark.promise(12, 13, 15)
async def test_a_holder_that_was_frozen_for_leases_disturbs_nobody(
    broker: Broker, tmp_path: Path, happened: Callable[[str], None]
) -> None:
    """SIGSTOP for longer than the lease (long: three of them), SIGCONT: the second run has a
    higher fence, goes on to its end, and the first one's result is not accepted."""
    lease, frozen = form((2.0, 3.2), (10.0, 32.0))
    async with two_workers(broker, tmp_path, lease) as (fleet, heard, workers, runs):
        task = await fleet.publish("nap.x", {"seconds": frozen - 0.1})
        first = await heard.until(lambda e: e.task == task.id and e.kind is Kind.STARTED)
        freeze(first.pid)
        began = time.monotonic()
        second = await heard.until(
            lambda e: e.task == task.id and e.kind is Kind.STARTED and e.pid != first.pid
        )
        took_over = time.monotonic() - began
        await asyncio.sleep(frozen - took_over)  # the time it stands still is the experiment
        workers.signal(first.pid, signal.SIGCONT)
        end = await task.outcome(frozen + 20.0)
        workers.signal(first.pid, signal.SIGTERM)
        assert await asyncio.to_thread(workers.wait, first.pid) == 0
        await heard.until(lambda e: e.task == task.id and e.kind is Kind.SUCCEEDED)
        ends = [e for e in heard.distinct() if e.task == task.id and e.kind is Kind.SUCCEEDED]
    fences = [run.fence for run in runs.look().all if run.task == task.id]
    happened(
        f"frozen {frozen:g} s at a lease of {lease:g} s: taken over after {took_over:.2f} s, "
        f"fences of the runs {fences}, accepted that of {end.fence}"
    )
    assert took_over <= lease + form(BUSY, 1.0)
    assert fences == [0, 1]
    assert (end.fence, end.attempt, {e.pid for e in ends}) == (1, 2, {second.pid})


@pytest.mark.postgres
@pytest.mark.slow
@pytest.mark.long(400)
@pytest.mark.promise(12, 15)
async def test_history_never_shows_the_end_of_a_holder_that_was_cut_off(
    broker: Broker, history_url: str, tmp_path: Path, happened: Callable[[str], None]
) -> None:
    """The network of the holder is cut while its handler runs, which ends before its lease does:
    the result is there and cannot be told until another has taken over; its end is told of no more.
    Long: again and again, at any moment of the run, also while the other one runs or after it."""
    lease, times, rng = 2.0, form(1, 12), random.Random(3)
    name, roles = f"cut-{secrets.token_hex(4)}", sleepers(tmp_path)
    runs, shown, answered = Runs(roles), Counter[tuple[int, str | None]](), Counter[int]()
    seconds = 1.0
    async with (
        between(broker) as network,
        remembering(broker, history_url, name, tmp_path, roles=roles, lease=lease) as it,
    ):
        it.workers.start(RECORDER)
        it.workers.start("sleeper")
        await it.seen("sleeper")
        arguments = (network.url, name, tmp_path)
        more = {"MUSTER_HISTORY_URL": history_url, **network.environment}
        async with it.history() as history, asyncio.timeout(form(90, 390)):
            for number in range(times):
                with worker_processes(*arguments, lease=lease, roles=str(roles), more=more) as far:
                    (pid,) = far.start("sleeper")
                    await it.seen("sleeper", 2)
                    task = await held_by(it, runs, pid, seconds)
                    await asyncio.sleep(form(0.2, rng.uniform(0.0, 0.6 * seconds)))
                    await network.cut()
                    looking = asyncio.create_task(look_on(history, task.id, shown))
                    await runs.until(lambda task=task: runs.started[task.id] == 2)  # type: ignore[misc]
                    await asyncio.sleep(form(0.2, rng.uniform(0.0, 2 * seconds)))
                    await network.mend()
                    end = await task.outcome(30)
                    await until(lambda task=task: has_ended(history, task.id))  # type: ignore[misc]
                    far.signal(pid, signal.SIGTERM)
                    assert await asyncio.to_thread(far.wait, pid) == 0
                    await it.read()
                    looking.cancel()
                    await asyncio.wait([looking])
                    (result,) = (await history.result(task.id)).found
                    assert (result.copy, result.result) == (1, "1"), number
                    answered[end.fence] += 1
    happened(
        f"{times} holders cut off in the middle of a run that ended all the same "
        f"({runs.look().again} second runs); results that history showed, by fence and value: "
        f"{dict(shown)}; what callers were answered, by fence: {dict(answered)}"
    )
    assert set(shown) == {(1, "1")}


async def held_by(it: Remembering, runs: Runs, pid: int, seconds: float) -> Task:
    """A task that has begun in this process: the other one is busy if need be."""
    while True:
        task, before = await it.fleet.publish("nap.x", {"seconds": seconds}), len(runs.all)
        await runs.until(lambda before=before: len(runs.all) > before)  # type: ignore[misc]
        if runs.all[-1].pid == pid:
            return task
        await task.result(20)


async def look_on(history: History, task: str, shown: Counter[tuple[int, str | None]]) -> None:
    """Note every result that history shows of a task, until cancelled."""
    while True:
        for result in (await history.result(task)).found:
            shown[result.copy, result.result] += 1
        await asyncio.sleep(0.01)


async def has_ended(history: History, task: str) -> bool:
    """Whether history shows its result."""
    return bool((await history.result(task)).found)


class Long:
    """A handler that takes its time, and keeps count of its runs."""

    def __init__(self, fleet: ManualFleet, seconds: float) -> None:
        self.fences: list[int] = []
        self._fleet = fleet
        self._seconds = seconds

    async def start(self) -> Any:
        """A worker of it."""

        async def handler(payload: Any, ctx: Context) -> int:
            self.fences.append(ctx.fence)
            await self._fleet.clock.sleep(self._seconds)
            return ctx.fence

        return await self._fleet.start(made(handler, attempts=3, concurrency=1), drain=0.0)


@pytest.mark.promise(13)
async def test_a_task_of_sixty_leases_is_run_once() -> None:
    """By the clock's hand."""
    fleet = ManualFleet()
    long = Long(fleet, 60 * LEASE)
    for _ in range(2):
        await long.start()
    task = await fleet.client.publish("work.a", None)
    assert await fleet.within(task.result(), 61 * LEASE) == 0
    assert long.fences == [0]
    await fleet.close()


@pytest.mark.promise(13, 15)
async def test_one_that_was_cut_off_is_not_accepted_and_disturbs_nobody() -> None:
    """The same by the clock's hand: cut off in the middle of sixty leases, it comes to its end
    before the one that took over."""
    fleet = ManualFleet()
    long = Long(fleet, 60 * LEASE)
    first = await long.start()
    task = await fleet.client.publish("work.a", None)
    await fleet.until(lambda: long.fences == [0])
    await fleet.clock.advance(20 * LEASE)
    first.cut_off()
    second = await long.start()
    await fleet.until(lambda: len(long.fences) == 2, LEASE + 1.0)
    assert await fleet.within(task.result(), 61 * LEASE) == 1
    assert long.fences == [0, 1]
    assert (first.worker.counts.succeeded, second.worker.counts.succeeded) == (0, 1)
    assert await fleet.deliveries() == []
    await fleet.close()
