"""A password that is changed while a worker runs: it says so once, loses nothing, and goes on when
its password works again."""

import asyncio
import secrets
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from contracts.clock import SystemClock
from contracts.results import Status
from tests import brokers
from tests.cli.running import Muster
from tests.guarded import RIGHT, guard, guarded
from tests.proxy import proxied
from tests.servers import PostgresServer
from workers import Fleet
from workers.fleet.client import Task
from workers.settings import load
from workers.wiring import open_bus

NEW = "n3w-s3cret"
CLOCK = SystemClock()

_TRIES = 5
"""Times that somebody connects while it is refused, until its log is looked at."""

LEANING = [param for param in brokers.ALONE if param.id in {"rabbitmq", "kafka"}]
"""Those beside which the bus database lies."""

PATIENT = '''\
"""A role of these tests."""

import asyncio
from pathlib import Path

from pydantic import BaseModel

from workers import Context, role


class Work(BaseModel):
    until: str = ""


@role("patient", listens="patient.#", concurrency=4)
async def patient(work: Work, ctx: Context) -> str:
    """Say that it began, and wait for a file."""
    Path("began").touch()
    while work.until and not Path(work.until).exists():
        await asyncio.sleep(0.02)
    return "done"
'''


class Worker(NamedTuple):
    """A worker process, and where its log goes."""

    process: subprocess.Popen[bytes]
    log: Path

    def lines(self, word: str = "") -> list[str]:
        """Those of its log in which the word is."""
        found = self.log.read_text(encoding="utf-8").splitlines()
        return [line for line in found if word in line]


@contextmanager
def working(muster: Muster) -> Iterator[Worker]:
    """`muster work patient`, as it runs under a supervisor."""
    log = muster.folder / "worker.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            muster.command("work", "patient"),
            cwd=muster.folder,
            env=muster.environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    try:
        yield Worker(process, log)
    finally:
        process.kill()
        process.wait()


async def until(true: Callable[[], object]) -> None:
    """Return when it is so."""
    async with asyncio.timeout(30.0):
        while not true():
            await CLOCK.sleep(0.05)


def a_fleet(folder: Path, url: str, database: str | None) -> Muster:
    """A folder with the role, whose worker goes by these addresses."""
    settings = {
        "MUSTER_BUS_URL": url,
        "MUSTER_FLEET_NAME": f"changed-{secrets.token_hex(4)}",
        "MUSTER_FLEET_LEASE": "2.5",
        **({"MUSTER_BUS_DATABASE": database} if database else {}),
    }
    muster = Muster(folder, **settings)
    muster.write("agents/patient.py", PATIENT)
    return muster


@asynccontextmanager
async def client(muster: Muster, **changed: str) -> AsyncIterator[Fleet]:
    """Another process of the fleet, which knows the password that counts."""
    loaded = load(muster.folder, environment={**muster.environment, **changed})
    async with Fleet(await open_bus(loaded), SystemClock()) as fleet:
        yield fleet


async def ended(fleet: Fleet, task: Task) -> None:
    """The task ends well."""
    found = await fleet.wait_for(task.id, 30.0, reply=task.reply)
    assert found.status is Status.SUCCEEDED, found


@dataclass(frozen=True, slots=True)
class Secret:
    """A password that somebody may change: whose connections `cut` ends, and by `settings` one
    knows it."""

    change: Callable[[str], None]
    cut: Callable[[], Awaitable[None]]
    settings: Callable[[str], dict[str, str]]


async def locked_out_and_back(muster: Muster, secret: Secret, tried: Callable[[], int]) -> None:
    """The password is changed under a worker that runs a task, and changed back. `tried`: how often
    somebody has connected."""

    def knowing(password: str) -> AbstractAsyncContextManager[Fleet]:
        return client(muster, **secret.settings(password))

    async with knowing(RIGHT) as fleet:
        await fleet.bus.join("patient", ["patient.#"])
        held = await fleet.publish("patient.held", {"until": "go"})
    with working(muster) as worker:
        await until((muster.folder / "began").exists)
        await asyncio.to_thread(secret.change, NEW)
        await secret.cut()
        await until(lambda: worker.lines("refuses the login"))
        before = tried()
        async with knowing(NEW) as fleet:
            later = await fleet.publish("patient.later", {})
        await until(lambda: tried() >= before + _TRIES)
        assert len(worker.lines("refuses the login")) == 1, worker.lines()
        assert worker.process.poll() is None
        await asyncio.to_thread(secret.change, RIGHT)
        (muster.folder / "go").touch()
        async with knowing(RIGHT) as fleet:
            await ended(fleet, held)
            await ended(fleet, later)
        assert worker.process.poll() is None
        assert worker.lines("takes the login again")
        assert [line for line in worker.lines() if RIGHT in line or NEW in line] == []


@pytest.mark.slow
@pytest.mark.promise(1, 16)
@pytest.mark.parametrize("name", brokers.ALONE)
async def test_a_password_that_is_changed_locks_a_worker_out_and_loses_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    """1, 16: what it runs ends, what is published meanwhile is done; one line of its log says
    why, however often it tries."""
    server = await asyncio.to_thread(guarded, request, name, tmp_path)
    async with proxied(server.server) as proxy:

        async def cut() -> None:
            await proxy.cut()
            await proxy.mend()

        def directly(password: str) -> dict[str, str]:
            return {"MUSTER_BUS_URL": server.url(password)}

        muster = a_fleet(tmp_path, server.url(RIGHT, proxy.url), server.database)
        secret = Secret(server.change, cut, directly)
        await locked_out_and_back(muster, secret, lambda: proxy.made)


@pytest.mark.slow
@pytest.mark.promise(1, 16)
@pytest.mark.parametrize("name", LEANING)
async def test_and_so_does_that_of_the_bus_database(
    request: pytest.FixtureRequest,
    own_postgres: Callable[[], PostgresServer],
    tmp_path: Path,
    name: str,
) -> None:
    """1, 16: as with the broker's."""
    database = guard(await asyncio.to_thread(own_postgres))
    broker = await asyncio.to_thread(brokers.shared, request, name)
    async with proxied(database.url()) as proxy:

        async def cut() -> None:
            await proxy.cut()
            await proxy.mend()

        def directly(password: str) -> dict[str, str]:
            return {"MUSTER_BUS_DATABASE": database.url(password)}

        muster = a_fleet(tmp_path, broker.url, proxy.url)
        secret = Secret(database.change, cut, directly)
        await locked_out_and_back(muster, secret, lambda: proxy.made)
