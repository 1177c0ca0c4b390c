"""Pain 14: memory grows, delayed tasks sit in it, an idle fleet melts its broker or database."""

import asyncio
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bus.backend import RETRY, Lag
from contracts.topics import RECORDER
from tests import brokers
from tests.brokers import Broker
from tests.forms import form
from tests.pains.idling import Store, at_rest, counting, idle, swept
from tests.pains.journal import Runs, sleepers
from tests.pains.remembering import counted, remembering
from tests.servers import PostgresServer
from tests.watching import resident
from workers.fleet.client import Task
from workers.fleet.options import Options
from workers.wiring import Fleet

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@pytest.fixture
def name() -> str:
    """A fleet of the test's own."""
    return f"grow-{secrets.token_hex(4)}"


@pytest.mark.long(240)
@pytest.mark.promise(18)
@pytest.mark.parametrize("which", brokers.REAL)
async def test_an_idle_fleet_leaves_its_broker_and_its_database_alone(
    request: pytest.FixtureRequest,
    which: str,
    postgres_server: PostgresServer,
    history_url: str,
    name: str,
    tmp_path: Path,
    happened: Callable[[str], None],
) -> None:
    """By the servers' own count: everything its processes send, presence and keepers included, is
    less than one operation per second and process; so is what they ask the bus database, and that
    of history. Each uses less than a hundredth of a core."""
    server, roles, count = counting(request, which), sleepers(tmp_path), 4
    brokers.tell(server, tmp_path)
    arguments = (server, history_url, name, tmp_path)
    async with (
        remembering(*arguments, roles=roles, lease=10.0, anew=True) as it,
        asyncio.timeout(form(100, 220)),
    ):
        pids = it.workers.start("sleeper", count)
        pids += it.workers.start(RECORDER) + it.workers.start("scheduler")
        await it.seen("sleeper", count)
        await it.recording()
        await (await it.fleet.publish("nap.x", {"seconds": 0.0})).result(10)
        await it.read()
        await swept(server, name)
        await at_rest()
        history = Store(postgres_server, history_url)
        found = await idle(server, history, pids, len(pids), form(20.0, 100.0))
    happened(f"{count} idle workers, a recorder, a scheduler: {found}")
    assert found.operations < 1.0
    assert found.bus < 1.0
    assert found.history < 1.0
    assert found.core < 0.01


@pytest.mark.long(1800)
@pytest.mark.promise(8)
async def test_delayed_tasks_cost_a_worker_no_memory(
    own_broker: Callable[[], Broker],
    history_url: str,
    name: str,
    tmp_path: Path,
    happened: Callable[[str], None],
) -> None:
    """Short: 20,000; long: a million. The worker goes on working beside them, each is still there,
    and history knows it; the recorder needs no memory for them either."""
    server, roles = own_broker(), sleepers(tmp_path)
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


async def naps(fleet: Fleet, count: int) -> list[Task]:
    """Tasks that are over at once."""
    return await fleet.publish_many([("nap.x", {"seconds": 0.0})] * count)
