"""Pain 9: cancel does nothing, or is forgotten at a restart. Here it ends what runs, child
processes too, and what was cancelled never runs again."""

import asyncio
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import psutil
import pytest

from bus.backend import Lag, Lane
from contracts.results import Status
from contracts.topics import RECORDER
from knowledge.history.states import State
from tests.brokers import Broker
from tests.e2e.fleets import bound, fleet_and_events, traces
from tests.freezing import freeze
from tests.pains.remembering import remembering
from tests.processes import WorkerProcesses, worker_processes
from tests.servers import PostgresServer
from workers.fleet.client import Task
from workers.fleet.options import Options
from workers.wiring import Fleet

pytestmark = [pytest.mark.slow]

STOPPED = 2.0
"""Seconds after which nothing of a cancelled task runs."""

ROLES = '''\
"""Roles that say on disk when they start and end."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from workers import Context, role

TRACE = Path(__file__).with_name("trace.txt")


def trace(what: str, ctx: Context, pid: int) -> None:
    with TRACE.open("a", encoding="utf-8") as file:
        file.write(f"{what} {ctx.id} {ctx.attempt} {ctx.fence} {pid}\\n")


@role("sleeper", listens="sleep.#", concurrency=2)
async def sleeper(seconds: float, ctx: Context) -> str:
    trace("start", ctx, os.getpid())
    await asyncio.sleep(seconds)
    trace("end", ctx, os.getpid())
    return "slept"


@role("single", listens="single.#", concurrency=1)
async def single(seconds: float, ctx: Context) -> str:
    return await sleeper(seconds, ctx)


@role("heavy", listens="heavy.#", isolation="process")
async def heavy(seconds: float, ctx: Context) -> None:
    nap = [sys.executable, "-c", "import time; time.sleep(600)"]
    child = subprocess.Popen(nap)
    trace("start", ctx, os.getpid())
    trace("child", ctx, child.pid)
    while True:
        pass
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the roles above."""
    folder = tmp_path / "roles"
    folder.mkdir()
    (folder / "roles.py").write_text(ROLES, encoding="utf-8")
    return folder


@pytest.fixture
def name() -> str:
    """A fleet of the test's own."""
    return f"pains-{secrets.token_hex(4)}"


def starts(folder: Path, tasks: Iterable[Task]) -> list[str]:
    """Which of these tasks began, as often as they did."""
    ids = {task.id for task in tasks}
    return [t.task for t in traces(folder) if t.what == "start" and t.task in ids]


async def until_started(folder: Path, tasks: list[Task]) -> None:
    """Return when all of them have begun."""
    await until(lambda: set(starts(folder, tasks)) == {task.id for task in tasks})


async def until(holds: Callable[[], bool]) -> float:
    """Seconds until something holds that files or the system tell."""
    began = time.monotonic()
    while not holds():  # noqa: ASYNC110 - nobody rings a bell
        await asyncio.sleep(0.01)
    return time.monotonic() - began


async def cancelled(tasks: Iterable[Task]) -> None:
    """All of them ended so."""
    ends = await asyncio.gather(*(task.outcome(30) for task in tasks))
    assert {end.status for end in ends} == {Status.CANCELLED}


def restart(workers: WorkerProcesses, *servers: Broker | PostgresServer) -> None:
    """Worker, recorder, broker and database are killed, and started again."""
    for pid in workers.pids:
        workers.kill(pid)
    for server in servers:
        server.kill()
    for server in servers:
        server.start()
    workers.start("sleeper")
    workers.start(RECORDER)


@pytest.mark.postgres
@pytest.mark.promise(23)
async def test_queued_delayed_and_running_never_run_again(
    own_broker: Callable[[], Broker],
    own_postgres: Callable[[], PostgresServer],
    name: str,
    folder: Path,
    tmp_path: Path,
) -> None:
    """What runs stops within two seconds. Then everything is killed and started again; what was
    cancelled does not run, neither at once nor when it is due, and history says that it was
    cancelled. A pause is as durable."""
    server, database = own_broker(), own_postgres()
    arguments = (server, database.url, name, tmp_path)
    async with remembering(*arguments, roles=folder) as it:
        fleet, workers = it.fleet, it.workers
        workers.start("sleeper")
        workers.start(RECORDER)
        async with asyncio.timeout(90):
            await it.seen("sleeper")
            running = await fleet.publish_many([("sleep.x", 60.0)] * 2)
            await until_started(folder, running)
            await fleet.cancel(*(task.id for task in running))
            began = time.monotonic()
            await cancelled(running)
            took = time.monotonic() - began
            await fleet.pause("sleeper")
            tasks = await fleet.publish_many([("sleep.x", 0.0)] * 3)
            tasks += await fleet.publish_many([("sleep.x", 0.0)] * 3, Options(delay=6.0))
            await fleet.cancel(*(task.id for task in tasks))
            await asyncio.to_thread(restart, workers, server, database)
            wanted = await _after(fleet, 6.5)
            await fleet.resume("sleeper")
            await cancelled(tasks)
            assert await wanted.result(30) == "slept"
            await it.read()
            async with it.history() as history:
                states = [await history.task(task.id) for task in (*running, *tasks)]
        print(f"running tasks ended {took * 1000:.0f} ms after cancel returned")
    assert took < STOPPED
    assert starts(folder, tasks) == []
    assert {task.state for answer in states for task in answer.found} == {State.CANCELLED}
    assert len(starts(folder, running)) == 2
    assert not [t for t in traces(folder) if t.what == "end" and t.task != wanted.id]


async def _after(fleet: Fleet, delay: float) -> Task:
    """A task that is due after everything else, once the broker is back."""
    (task,) = await fleet.publish_many([("sleep.x", 0.0)], Options(delay=delay))
    return task


@pytest.mark.promise(23)
async def test_a_child_process_that_does_not_listen_is_gone_with_all_it_started(
    broker: Broker, name: str, folder: Path, tmp_path: Path
) -> None:
    arguments = (broker.url, name, tmp_path)
    with worker_processes(*arguments, lease=2.0, roles=str(folder)) as workers:
        workers.start("heavy")
        async with fleet_and_events(*arguments) as (fleet, _), asyncio.timeout(40):
            await bound(fleet, "heavy")
            task = await fleet.publish("heavy.x", 1.0)
            await until(lambda: len(traces(folder)) == 2)
            pids = [trace.pid for trace in traces(folder)]
            assert all(map(_lives, pids))
            await task.cancel()
            took = await until(lambda: not any(map(_lives, pids)))
            await cancelled([task])
    print(f"child and grandchild were gone {took * 1000:.0f} ms after cancel returned")
    assert took < STOPPED
    assert len(starts(folder, [task])) == 1


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.promise(23)
async def test_a_frozen_worker_starts_nothing_that_was_cancelled_meanwhile(
    broker: Broker, name: str, folder: Path, tmp_path: Path
) -> None:
    """Its lease is long: what it has read ahead, and what the broker hands to it while it stands
    still, is its own. A place is free as soon as it goes on, before it has heard of the marks."""
    arguments = (broker.url, name, tmp_path)
    with worker_processes(*arguments, lease=30.0, roles=str(folder)) as workers:
        (pid,) = workers.start("single")
        async with fleet_and_events(*arguments) as (fleet, _), asyncio.timeout(60):
            await bound(fleet, "single")
            long, *held = await _frozen_with(fleet, folder, pid)
            handed = await fleet.publish_many([("single.x", 0.0)] * 4)
            await fleet.cancel(*(task.id for task in (*held, *handed)))
            await asyncio.sleep(2.5)
            wanted = await fleet.publish("single.x", 0.0)
            os.kill(pid, signal.SIGCONT)
            await cancelled([*held, *handed])
            assert await long.result(30) == await wanted.result(30) == "slept"
    assert starts(folder, [*held, *handed]) == []
    assert {trace.pid for trace in traces(folder)} == {pid}


async def _frozen_with(fleet: Fleet, folder: Path, pid: int) -> list[Task]:
    """Freeze the worker while it runs one task, which is the first, and has read the others ahead.
    No order is promised: whichever it began with is the one. What came to the broker after it had
    looked for more is not read ahead until the run is over: then it is tried anew."""
    while True:
        warm = await fleet.publish_many([("single.warm", 0.0)] * 100)
        await asyncio.gather(*(task.result(20) for task in warm))
        tasks = await fleet.publish_many([("single.x", 2.0)] * 5)
        while _waiting(await fleet.bus.lag("single")) or not starts(folder, tasks):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        freeze(pid)
        begun = starts(folder, tasks)
        if len(begun) == 1 and not _ended(folder, begun):
            return sorted(tasks, key=lambda task: task.id not in begun)
        os.kill(pid, signal.SIGCONT)
        await asyncio.gather(*(task.result(20) for task in tasks))


def _ended(folder: Path, tasks: Iterable[str]) -> bool:
    return any(t.what == "end" and t.task in tasks for t in traces(folder))


def _waiting(lags: Mapping[Lane, object]) -> bool:
    return any(lag.waiting for lag in lags.values() if isinstance(lag, Lag))
