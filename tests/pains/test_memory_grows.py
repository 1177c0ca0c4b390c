"""Pain 14: memory grows, delayed tasks sit in it, an idle fleet melts its broker or database."""

import asyncio
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bus.backend import RETRY, Lag
from contracts.topics import RECORDER
from tests.forms import form
from tests.pains.journal import Runs, sleepers
from tests.pains.remembering import counted, remembering
from tests.servers import NatsServer, PostgresServer
from tests.watching import messages, operations, resident
from workers.fleet.client import Task
from workers.fleet.options import Options
from workers.wiring import Fleet

pytestmark = [pytest.mark.nats, pytest.mark.postgres, pytest.mark.slow]


@pytest.fixture
def name() -> str:
    """A fleet of the test's own."""
    return f"grow-{secrets.token_hex(4)}"


@pytest.mark.long(180)
@pytest.mark.promise(18)
async def test_an_idle_fleet_leaves_its_broker_and_its_database_alone(
    own_nats: Callable[[], NatsServer],
    postgres_server: PostgresServer,
    history_url: str,
    name: str,
    tmp_path: Path,
    happened: Callable[[str], None],
) -> None:
    """By the servers' own count: everything its processes send, presence and keepers included, is
    less than one operation per second and process; so is what they ask the database."""
    server, roles, count = own_nats(), sleepers(tmp_path), 4
    arguments = (server, history_url, name, tmp_path)
    database = urlsplit(history_url).path[1:]
    seconds = form(3.0, 90.0)
    async with (
        remembering(*arguments, roles=roles, lease=10.0, anew=True) as it,
        asyncio.timeout(form(100, 170)),
    ):
        it.workers.start("sleeper", count)
        it.workers.start(RECORDER)
        it.workers.start("scheduler")
        await it.seen("sleeper", count)
        await it.recording()
        await (await it.fleet.publish("nap.x", {"seconds": 0.0})).result(10)
        await it.read()
        await swept(server, name)
        asked = transactions(postgres_server, database)
        before, began = operations(server), time.monotonic()
        await asyncio.sleep(seconds)
        took = time.monotonic() - began
        found = (operations(server) - before) / took / (count + 2)
        questions = (transactions(postgres_server, database) - asked) / took / (count + 2)
    happened(
        f"{count} idle workers, a recorder, a scheduler: {found:.2f} broker operations/s each, "
        f"{questions:.2f} transactions/s of the database each, over {seconds:g} s"
    )
    assert found < 1.0
    assert questions < 1.0


def transactions(server: PostgresServer, database: str) -> int:
    """How many a database has seen."""
    found = "SELECT xact_commit + xact_rollback FROM pg_stat_database"
    return int(server.run(f"{found} WHERE datname = '{database}'"))


@pytest.mark.long(1800)
@pytest.mark.promise(8)
async def test_delayed_tasks_cost_a_worker_no_memory(
    own_nats: Callable[[], NatsServer],
    history_url: str,
    name: str,
    tmp_path: Path,
    happened: Callable[[str], None],
) -> None:
    """Short: 20,000; long: a million. The worker goes on working beside them, each is still there,
    and history knows it; the recorder needs no memory for them either."""
    server, roles = own_nats(), sleepers(tmp_path)
    arguments = (server, history_url, name, tmp_path)
    count, call = form(20_000, 1_000_000), 500
    async with remembering(*arguments, roles=roles, lease=10.0, anew=True) as it:
        (pid,), (scribe,) = it.workers.start("sleeper"), it.workers.start(RECORDER)
        await it.seen("sleeper")
        await asyncio.gather(*[task.result(20) for task in await naps(it.fleet, 200)])
        await it.read()
        before, scribe_before, began = resident(pid), resident(scribe), time.monotonic()
        options = Options(delay=24 * 3600.0, reply=False)
        for _ in range(count // call):
            await it.fleet.publish_many([("nap.later", {"seconds": 0.0})] * call, options)
        rate = count / (time.monotonic() - began)
        await asyncio.gather(*[task.result(60) for task in await naps(it.fleet, 200)])
        after = resident(pid)
        lag = (await it.fleet.bus.lag("sleeper"))[RETRY]
        await it.read(form(60.0, 600.0))
        scribe_after = resident(scribe)
        async with it.history() as history:
            known = (await counted(history))["published"]
    happened(
        f"{count} delayed at {rate:.0f}/s: worker {before:.1f} MiB before, {after:.1f} MiB after; "
        f"all in history, its recorder {scribe_before:.1f} MiB before, {scribe_after:.1f} after"
    )
    assert isinstance(lag, Lag)
    assert lag.delayed == count
    assert known == count + 400
    assert after - before < 8.0
    assert scribe_after - scribe_before < BATCH
    assert Runs(roles).look().ended.total() == 400


BATCH = 64.0
"""MiB that a recorder may need for the batches it has in its hands, however many follow."""


async def swept(server: NatsServer, name: str) -> None:
    """Nothing of what has worked is left to be cleared away."""
    while True:
        left = await asyncio.to_thread(messages, server, name)
        if left and not any(n for stream, n in left.items() if not stream.startswith("KV_")):
            return
        await asyncio.sleep(0.2)


async def naps(fleet: Fleet, count: int) -> list[Task]:
    """Tasks that are over at once."""
    return await fleet.publish_many([("nap.x", {"seconds": 0.0})] * count)
