"""Real workers tell whether they live and can work, whatever becomes of broker and network."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from contracts.events import Kind
from tests.brokers import Broker
from tests.e2e.fleets import TRACER, bound, fleet_and_events, traces
from tests.probing import addresses, first_raw_operation, probe, until
from tests.processes import worker_processes
from tests.proxy import proxied
from tests.servers import NatsServer
from workers.wiring import Fleet

pytestmark = pytest.mark.slow

BACK = 5.0
"""Seconds from the first raw operation that succeeds until work goes on (promise 16)."""

RED = 5.0 + 1.5
"""Seconds after which a process says that it is not ready; and a moment to look."""

BLOCKING = (
    TRACER
    + """

@role("blocker", listens="block.#", concurrency=1, attempts=3)
async def blocker(work: Work, ctx: Context) -> int:
    import time

    trace("start", ctx.id, ctx.attempt, ctx.fence, os.getpid())
    time.sleep(work.seconds)
    return os.getpid()
"""
)


@pytest.fixture
def name() -> str:
    """A fleet of the test's own."""
    return f"health-{secrets.token_hex(4)}"


@pytest.fixture
def roles(tmp_path: Path) -> Path:
    """A folder with the roles `tracer` and `blocker`."""
    folder = tmp_path / "roles"
    folder.mkdir()
    (folder / "tracer.py").write_text(BLOCKING, encoding="utf-8")
    return folder


@dataclass(frozen=True, slots=True)
class Watched:
    """A worker that answers probes at `health`; its broker is at `url`."""

    fleet: Fleet
    url: str
    pid: int
    health: str

    async def goes_red(self) -> None:
        """The broker is out of reach now. Who says so first is a matter of a moment: who counts the
        seconds without an answer, or who cannot pull."""
        async with asyncio.timeout(RED):
            red = await until(self.health, 503)
        said = ("the broker has not answered", "did not answer")
        assert any(each in why for why in red.why for each in said), red.why
        assert (await probe(self.health, "/livez")).status == 200

    async def works_again(self) -> str:
        """The broker is back now; in how many seconds."""
        raw = await first_raw_operation(self.url)
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + BACK):
            task = await self.fleet.publish("trace.x", {"seconds": 0.0})
            assert await task.result() == self.pid
            await until(self.health, 200)
        return f"works again {time.monotonic() - raw:.2f} s after the broker"


@asynccontextmanager
async def watched(url: str, behind: str, folder: Path, roles: Path) -> AsyncIterator[Watched]:
    """A worker of `tracer` that reaches the broker at `behind`, which is at `url` for everybody."""
    name = f"health-{secrets.token_hex(4)}"
    with worker_processes(behind, name, folder, roles=str(roles)) as workers:
        (pid,) = workers.start("tracer")
        async with fleet_and_events(url, name, folder) as (fleet, _):
            async with asyncio.timeout(20):
                await bound(fleet, "tracer")
                health = (await addresses(fleet.bus.store, "tracer"))[pid]
                assert (await probe(health)).status == 200
            yield Watched(fleet, behind, pid, health)


@pytest.mark.timeout(180)
@pytest.mark.promise(16)
async def test_a_worker_without_its_broker_is_not_ready_and_then_works_again(
    own_broker: Callable[[], Broker], tmp_path: Path, roles: Path
) -> None:
    """Promise 16: red within five seconds though it lives; green, and a task done, within five
    seconds of the first raw operation that succeeds. After a kill, and again after a hang."""
    server = own_broker()
    async with watched(server.url, server.url, tmp_path, roles) as worker:
        await asyncio.to_thread(server.kill)
        await worker.goes_red()
        await asyncio.to_thread(server.start)
        print(f"kill: {await worker.works_again()}")
        await asyncio.to_thread(server.freeze)
        await worker.goes_red()
        server.thaw()
        print(f"freeze: {await worker.works_again()}")


@pytest.mark.nats
@pytest.mark.promise(16)
@pytest.mark.parametrize("silently", [True, False], ids=["hang", "cut"])
async def test_a_worker_without_its_network_is_not_ready_and_then_works_again(
    nats_server: NatsServer, tmp_path: Path, roles: Path, silently: bool
) -> None:
    """Promise 16: the same where the broker is well."""
    async with (
        proxied(nats_server.url) as proxy,
        watched(nats_server.url, proxy.url, tmp_path, roles) as worker,
    ):
        if silently:
            proxy.hang()
        else:
            await proxy.cut()
        await worker.goes_red()
        await proxy.mend()
        print(f"{'hang' if silently else 'cut'}: {await worker.works_again()}")


@pytest.mark.nats
@pytest.mark.promise(16)
async def test_a_worker_whose_broker_stays_away_gives_up(
    own_nats: Callable[[], NatsServer], name: str, tmp_path: Path, roles: Path
) -> None:
    """Promise 16: exit code 3 after `give_up`, whether it is idle or has a task in hand that
    does not end."""
    server = own_nats()
    arguments = (server.url, name, tmp_path)
    more = {"MUSTER_FLEET_GIVE_UP": "5"}
    with worker_processes(*arguments, lease=30.0, roles=str(roles), more=more) as workers:
        idle, busy = workers.start("blocker")[0], workers.start("tracer")[0]
        async with fleet_and_events(*arguments) as (fleet, heard), asyncio.timeout(20):
            await bound(fleet, "tracer", "blocker")
            await fleet.publish("trace.x", {"seconds": 600.0})
            await heard.until(lambda event: event.kind is Kind.STARTED)
        await asyncio.to_thread(server.kill)
        killed = time.monotonic()
        codes = [await asyncio.to_thread(workers.wait, pid, 15.0) for pid in (idle, busy)]
        took = time.monotonic() - killed
    assert codes == [3, 3]
    assert took < 5.0 + 2.0 + 2.0
    logs = [
        (tmp_path / f"{role}-{n}.log").read_text() for n, role in enumerate(("blocker", "tracer"))
    ]
    assert all("gives up" in log for log in logs)
    assert logs[0].rstrip().splitlines()[-1].startswith("   do: ")


@pytest.mark.nats
async def test_a_worker_whose_loop_is_blocked_says_so(
    nats_server: NatsServer, name: str, tmp_path: Path, roles: Path
) -> None:
    """Probes are answered by a thread of their own; nobody gives up, and the task is kept."""
    arguments = (nats_server.url, name, tmp_path)
    more = {"MUSTER_FLEET_GIVE_UP": "5"}
    with worker_processes(*arguments, roles=str(roles), more=more) as workers:
        (pid,) = workers.start("blocker")
        async with fleet_and_events(*arguments) as (fleet, _), asyncio.timeout(20):
            await bound(fleet, "blocker")
            health = (await addresses(fleet.bus.store, "blocker"))[pid]
            task = await fleet.publish("block.x", {"seconds": 6.0})
            red = await until(health, 503)
            assert red.why == ("a handler blocks the event loop for 5 s",)
            assert (await probe(health, "/livez")).status == 200
            assert await task.result() == pid
            await until(health, 200)
    assert len(traces(roles)) == 1
