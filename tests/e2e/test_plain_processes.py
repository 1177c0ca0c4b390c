"""Plain handlers in real worker processes: one that does not stop costs its worker, no more."""

import asyncio
from pathlib import Path

import pytest

from contracts.outcomes import Reason
from contracts.results import Status
from tests.e2e.fleets import supervised, traces
from tests.servers import NatsServer
from workers.fleet.client import Task

pytestmark = [pytest.mark.nats, pytest.mark.slow]

PLAIN = '''\
"""A plain role that may not listen."""

import os
import time
from pathlib import Path

from pydantic import BaseModel

from workers import SyncContext, role

TRACE = Path(__file__).with_name("trace.txt")


class Work(BaseModel):
    seconds: float = 0.0
    deaf: bool = False


def trace(what: str, ctx: SyncContext) -> None:
    with TRACE.open("a", encoding="utf-8") as file:
        file.write(f"{what} {ctx.id} {ctx.attempt} {ctx.fence} {os.getpid()}\\n")


@role("plain", listens="plain.#", concurrency=4, attempts=2, backoff=0.01, timeout=5)
def plain(work: Work, ctx: SyncContext) -> int:
    trace("start", ctx)
    end = time.monotonic() + work.seconds
    while time.monotonic() < end:
        if ctx.cancelled and not work.deaf:
            trace("told", ctx)
            return 0
        time.sleep(0.01)
    trace("end", ctx)
    return os.getpid()
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the role above."""
    folder = tmp_path / "roles"
    folder.mkdir()
    (folder / "plain.py").write_text(PLAIN, encoding="utf-8")
    return folder


async def started(folder: Path, task: Task, count: int = 1) -> list[int]:
    """The processes in which runs of it began, once there are so many."""
    while True:
        pids = [t.pid for t in traces(folder) if t.task == task.id and t.what == "start"]
        if len(pids) >= count:
            return pids
        await asyncio.sleep(0.01)


async def test_a_deaf_handler_that_is_cancelled_costs_its_worker_and_the_rest_goes_on(
    nats_server: NatsServer, folder: Path
) -> None:
    """The task is cancelled within two seconds; what ran beside it runs again, with no attempt
    used up, in the next process."""
    async with supervised(nats_server, folder, "plain") as fleet, asyncio.timeout(60):
        deaf = await fleet.publish("plain.x", {"seconds": 300, "deaf": True})
        (first,) = await started(folder, deaf)
        beside = await fleet.publish("plain.x", {"seconds": 4})
        await started(folder, beside)
        loop = asyncio.get_running_loop()
        await deaf.cancel("enough")
        since = loop.time()
        assert (await deaf.outcome(10)).status is Status.CANCELLED
        assert loop.time() - since < 3.0
        end = await beside.outcome(30)
        assert (end.status, end.attempt) == (Status.SUCCEEDED, 1)
        assert end.value != first
        assert len(await started(folder, beside, 2)) == 2


async def test_a_deaf_handler_that_takes_too_long_uses_up_its_attempts(
    nats_server: NatsServer, folder: Path
) -> None:
    async with supervised(nats_server, folder, "plain") as fleet, asyncio.timeout(60):
        deaf = await fleet.publish("plain.x", {"seconds": 300, "deaf": True})
        end = await deaf.outcome(40)
        assert (end.reason, end.attempt) == (Reason.TIMEOUT, 2)
        assert len(set(await started(folder, deaf, 2))) == 2
        alive = await (await fleet.publish("plain.x", {})).result(20)
        assert alive not in await started(folder, deaf, 2)


async def test_one_that_listens_costs_nothing(nats_server: NatsServer, folder: Path) -> None:
    async with supervised(nats_server, folder, "plain") as fleet, asyncio.timeout(60):
        task = await fleet.publish("plain.x", {"seconds": 300})
        (pid,) = await started(folder, task)
        await task.cancel()
        assert (await task.outcome(10)).status is Status.CANCELLED
        assert await (await fleet.publish("plain.x", {})).result(20) == pid
