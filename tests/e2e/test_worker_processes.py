"""Real worker processes on a real broker: ended, killed and frozen; bad bytes; a killed broker."""

import asyncio
import secrets
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from bus.backend import Message
from bus.deadletters import DeadLetter
from contracts.clock import SystemClock
from contracts.events import Kind
from contracts.outcomes import Reason
from tests.brokers import Broker
from tests.e2e.fleets import TRACER, bound, fleet_and_events, traces
from tests.freezing import freeze
from tests.processes import worker_processes
from tests.servers import NatsServer
from workers.fleet.options import Options
from workers.settings import load
from workers.wiring import open_parts

pytestmark = pytest.mark.slow


@pytest.fixture
def name() -> str:
    """A fleet of the test's own."""
    return f"e2e-{secrets.token_hex(4)}"


@pytest.fixture
def roles(tmp_path: Path) -> Path:
    """A folder with the role `tracer`."""
    folder = tmp_path / "roles"
    folder.mkdir()
    (folder / "tracer.py").write_text(TRACER, encoding="utf-8")
    return folder


@pytest.mark.promise(20)
async def test_a_worker_that_is_asked_to_end_gives_back_what_it_has_not_started(
    broker: Broker, name: str, tmp_path: Path, roles: Path
) -> None:
    """Promise 20 with a lease of half a minute: what was running ends where it ran, the rest is
    run by another at once, and no attempt is used. The process exits with 0."""
    arguments = (broker.url, name, tmp_path)
    with worker_processes(*arguments, lease=30.0, roles=str(roles)) as workers:
        (first,) = workers.start("tracer")
        async with fleet_and_events(*arguments) as (fleet, heard), asyncio.timeout(25):
            await bound(fleet, "tracer")
            warm = await fleet.publish_many([("trace.warm", {"seconds": 0.0})] * 40)
            await asyncio.gather(*(task.result(10) for task in warm))
            tasks = await fleet.publish_many([("trace.x", {"seconds": 1.0})] * 12)
            await heard.until(lambda e: e.task == tasks[1].id and e.kind is Kind.STARTED)
            workers.signal(first, signal.SIGTERM)
            workers.start("tracer")
            pids = await asyncio.gather(*(task.result(20) for task in tasks))
        assert workers.wait(first) == 0
    assert pids.count(first) in {2, 3, 4}, "what ran should have ended where it ran"
    ids = {task.id for task in tasks}
    runs = [t for t in traces(roles) if t.task in ids and t.what == "start"]
    assert Counter(run.task for run in runs) == dict.fromkeys(ids, 1)
    assert {run.attempt for run in runs} == {1}


@pytest.mark.promise(12, 15)
async def test_a_killed_and_a_frozen_worker_lose_their_tasks_to_another(
    broker: Broker, name: str, tmp_path: Path, roles: Path
) -> None:
    """One holder is killed, one frozen past its lease: both tasks end elsewhere within lease and
    a second. When the frozen one wakes up, its result is not accepted."""
    arguments = (broker.url, name, tmp_path)
    with worker_processes(*arguments, lease=2.0, roles=str(roles)) as workers:
        pids = workers.start("tracer", 2)
        async with fleet_and_events(*arguments) as (fleet, heard), asyncio.timeout(40):
            await bound(fleet, "tracer", count=2)
            tasks = await fleet.publish_many([("trace.x", {"seconds": 3.0})] * 4)
            ids = {task.id for task in tasks}
            await heard.until_all(lambda: all(heard.starts(task) for task in ids))
            workers.kill(pids[0])
            freeze(pids[1])
            (heir,) = workers.start("tracer")
            results = await asyncio.gather(*(task.result(30) for task in tasks))
            workers.signal(pids[1], signal.SIGCONT)
            workers.signal(pids[1], signal.SIGTERM)
            assert workers.wait(pids[1]) == 0
            ends = [e for e in heard.distinct() if e.kind is Kind.SUCCEEDED and e.task in ids]
    assert not set(results) & set(pids)
    assert {event.pid for event in ends} == {heir}, "a result of the frozen worker was accepted"


@pytest.mark.promise(19)
async def test_bytes_that_are_no_task_become_a_dead_letter_and_nothing_else(
    broker: Broker, name: str, tmp_path: Path, roles: Path
) -> None:
    """Promise 19: somebody publishes rubbish on the role's topic. It is kept as it came, it is not
    handed out again, and the task behind it runs."""
    arguments = (broker.url, name, tmp_path)
    rubbish = b"\x00\xff not a task"
    letters: list[DeadLetter] = []
    with worker_processes(*arguments, lease=2.0, roles=str(roles)) as workers:
        workers.start("tracer")
        async with fleet_and_events(*arguments) as (fleet, _), asyncio.timeout(25):
            await bound(fleet, "tracer")
            await published(*arguments, Message("x", 0, "trace.x", rubbish, {"x-mine": "kept"}))
            behind = await fleet.publish("trace.x", {"seconds": 0.0})
            await behind.result(10)
            async for _change in fleet.bus.store.watch("dead/tracer/"):
                letters = [letter async for letter in fleet.bus.dead.all("tracer")]
                if letters:
                    break
    (letter,) = letters
    assert (letter.body, letter.reason) == (rubbish, Reason.INVALID)
    assert letter.headers["x-mine"] == "kept"
    assert "ce-specversion" in letter.error
    assert [t.task for t in traces(roles) if t.what == "start"] == [behind.id]


async def published(url: str, fleet: str, folder: Path, message: Message) -> None:
    """Nobody looks at what it is."""
    loaded = load(folder, flags={"bus.url": url, "fleet.name": fleet, "fleet.lease": 2.0})
    parts = await open_parts(loaded, SystemClock(), "test")
    try:
        await parts.backend.publish([message])
    finally:
        await parts.backend.close()
        await parts.store.close()
        await parts.close()


@pytest.mark.nats
@pytest.mark.promise(1)
async def test_a_killed_broker_loses_no_accepted_task(
    own_nats: Callable[[], NatsServer], name: str, tmp_path: Path, roles: Path
) -> None:
    """The broker is killed with -9 twice while workers run and a publisher is at it: every id
    whose publish returned ends with a result."""
    server = own_nats()
    arguments = (server.url, name, tmp_path)
    accepted: list[str] = []
    with worker_processes(*arguments, lease=2.0, roles=str(roles)) as workers:
        workers.start("tracer", 2)
        async with fleet_and_events(*arguments) as (fleet, _), asyncio.timeout(60):
            await bound(fleet, "tracer", count=2)

            async def publish(rounds: int) -> None:
                for _ in range(rounds):
                    options = Options(reply=False)
                    batch = [("trace.x", {"seconds": 0.02})] * 10
                    accepted.extend(t.id for t in await fleet.publish_many(batch, options))

            for _ in range(2):
                await publish(5)
                publishing = asyncio.create_task(publish(5))
                await asyncio.sleep(0)
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
                await publishing
            last = await fleet.publish("trace.x", {"seconds": 0.0})
            await last.result(30)
            ended: Counter[str] = Counter()
            while set(accepted) - set(ended):
                ended = Counter(t.task for t in traces(roles) if t.what == "end")
                await asyncio.sleep(0.05)
    again = sum(ended[task] - 1 for task in accepted)
    print(f"accepted {len(accepted)}, lost 0, run again {again}")
    assert set(accepted) <= set(ended)
