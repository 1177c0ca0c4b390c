"""Real worker processes tell on `/metrics` what their handlers say they have done."""

import asyncio
import json
import secrets
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parsed

from bus.keyvalue.protocol import Written
from contracts.clock import SystemClock
from deploy import ports
from tests.e2e.fleets import bound
from tests.probing import addresses
from tests.processes import worker_processes
from tests.servers import NatsServer
from workers.fleet.client import Task
from workers.fleet.presence import Alive, present
from workers.sdk.errors import TaskCancelled
from workers.settings import load
from workers.wiring import Fleet, open_bus

pytestmark = [pytest.mark.nats, pytest.mark.slow]

COUNTING = '''\
"""A role that does as it is told and writes down what that was."""

import asyncio
import json
import os
import signal
from pathlib import Path

from prometheus_client import Counter
from pydantic import BaseModel

from workers import Context, Reject, Retry, Snooze, role

TOLD = Path(__file__).with_name("told.txt")
PAGES = Counter("agent_pages", "Pages read.")


class Work(BaseModel):
    do: str
    seconds: float = 0.0


@role("worker", listens="work.#", attempts=2, backoff=0.01, concurrency=4)
async def worker(work: Work, ctx: Context) -> str | Retry | Snooze | Reject:
    with TOLD.open("a", encoding="utf-8") as file:
        file.write(f"{work.do} {ctx.tenant} {ctx.attempt}\\n")
    PAGES.inc()
    await asyncio.sleep(work.seconds)
    if work.do == "snooze" and ctx.fence == 0:
        return Snooze(0.01)
    if work.do == "retry" and ctx.attempt == 1:
        return Retry(0.01)
    if work.do == "reject":
        return Reject("no")
    if work.do == "fail":
        raise ValueError("no")
    if work.do == "crash" and ctx.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"
'''


class Scraped:
    """The samples of one page."""

    def __init__(self, page: str) -> None:
        self.families = {family.name: family for family in parsed(page)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def sum(self, name: str, **labels: str) -> float:
        """Over all series of this name with these labels."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """The values of a name by some of its labels."""
        found: defaultdict[tuple[str, ...], float] = defaultdict(float)
        for sample in self.samples:
            if sample.name == name:
                found[tuple(sample.labels[label] for label in labels)] += sample.value
        return dict(found)


async def scraped(url: str) -> Scraped:
    """What a process tells now."""
    return Scraped(await asyncio.to_thread(_get, url + "/metrics"))


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own process
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return str(answer.read().decode())


def told(folder: Path) -> Counter[str]:
    """How often the handler was called, by what it was to do."""
    lines = (folder / "told.txt").read_text(encoding="utf-8").splitlines()
    return Counter(line.split()[0] for line in lines)


@pytest.fixture
def name() -> str:
    """A fleet of the test's own."""
    return f"metrics-{secrets.token_hex(4)}"


@pytest.fixture
def roles(tmp_path: Path) -> Path:
    """A folder with the role `worker`."""
    folder = tmp_path / "roles"
    folder.mkdir()
    (folder / "worker.py").write_text(COUNTING, encoding="utf-8")
    return folder


async def connected(url: str, name: str, folder: Path) -> Fleet:
    """A client of the fleet."""
    flags = {"bus.url": url, "fleet.name": name}
    return Fleet(await open_bus(load(folder, flags=flags)), SystemClock())


async def ended(*tasks: Task) -> None:
    """Return when all have come to an end."""
    await asyncio.gather(*(task.outcome() for task in tasks))


async def test_what_is_counted_is_what_handlers_did(
    nats_server: NatsServer, name: str, tmp_path: Path, roles: Path
) -> None:
    """Starts, ends by their kind, histograms and `muster ps` agree with the handler's own notes."""
    place = (nats_server.url, name, tmp_path)
    with worker_processes(*place, roles=str(roles)) as workers:
        (pid,) = workers.start("worker")
        async with await connected(*place) as fleet, asyncio.timeout(20):
            await bound(fleet, "worker")
            health = (await addresses(fleet.bus.store, "worker"))[pid]
            jobs = {"ok": 7, "retry": 3, "snooze": 2, "reject": 2, "fail": 1}
            orders = [("work.x", {"do": do}) for do, count in jobs.items() for _ in range(count)]
            tasks = await fleet.publish_many(orders)
            high = await fleet.publish("work.x", {"do": "ok"}, priority="high", tenant="acme")
            bad = await fleet.publish("work.x", {"does": "not fit"})
            late = await fleet.publish("work.x", {"do": "ok"}, delay=0.3)
            await ended(*tasks, high, bad, late)
            found = await scraped(health)
            while found.sum("muster_settle_seconds_count") < 24:  # the last is being settled
                found = await scraped(health)
            shown = await shown_until(fleet, "worker", succeeded=14)
    handlers = told(roles)
    assert handlers == {"ok": 9, "retry": 6, "snooze": 4, "reject": 2, "fail": 2}
    assert found.sum("muster_tasks_started_total", role="worker") == handlers.total()
    assert found.sum("agent_pages_total") == handlers.total()
    assert found.sum("muster_tasks_succeeded_total") == 9 + 3 + 2 == shown.succeeded
    assert found.sum("muster_tasks_retried_total") == 3 + 1
    assert found.sum("muster_tasks_snoozed_total") == 2
    assert shown.again == 6
    reasons = found.by("muster_tasks_failed_total", "reason")
    assert reasons == {("rejected",): 2, ("exhausted",): 1, ("invalid",): 1}
    assert found.by("muster_dead_letters_total", "reason") == reasons
    assert shown.failed == 4
    lanes = found.by("muster_tasks_started_total", "lane", "tenant")
    assert lanes == {("normal", "default"): 15, ("high", "acme"): 1, ("retry", "default"): 7}
    assert found.sum("muster_task_run_seconds_count") == handlers.total()
    assert 0 < found.sum("muster_task_run_seconds_sum") < 5
    waited = found.by("muster_task_wait_seconds_count", "lane")
    assert waited[("normal",)] == 15
    assert found.sum("muster_task_wait_seconds_count", lane="retry") == 7
    assert found.sum("muster_slots", role="worker") == 4
    assert found.sum("muster_tasks_running") == 0
    assert found.sum("muster_pull_errors_total") == 0
    assert found.sum("process_resident_memory_bytes") > 1e7
    assert found.sum("muster_worker_info", pid=str(pid), fleet=name) == 1
    assert "muster_spans" not in found.families


async def shown_until(fleet: Fleet, role: str, *, succeeded: int) -> Alive:
    """What `muster ps` shows of the one worker, once it is as far."""
    async for change in fleet.bus.store.watch(f"alive/{role}/"):
        if isinstance(change, Written):
            (alive,) = await present(fleet.bus.store, role)
            if alive.succeeded >= succeeded:
                return alive
    raise AssertionError


async def test_what_waits_and_what_runs_can_be_seen(
    nats_server: NatsServer, name: str, tmp_path: Path, roles: Path
) -> None:
    """By lane; what is cancelled and what is given back is counted as that."""
    place = (nats_server.url, name, tmp_path)
    with worker_processes(*place, roles=str(roles)) as workers:
        (pid,) = workers.start("worker")
        async with await connected(*place) as fleet, asyncio.timeout(20):
            await bound(fleet, "worker")
            health = (await addresses(fleet.bus.store, "worker"))[pid]
            long = {"do": "ok", "seconds": 600}
            first = await fleet.publish_many([("work.x", long)] * 4)
            found = await scraped(health)
            while found.sum("muster_tasks_started_total") < 4:
                found = await scraped(health)
            assert found.sum("muster_tasks_running") == 4
            await fleet.publish_many([("work.x", long)] * 5)
            await fleet.publish("work.x", long, delay=600)
            while found.sum("muster_lag_tasks") < 10:
                found = await scraped(health)
            lag = found.by("muster_lag_tasks", "lane", "state")
            assert lag["retry", "delayed"] == 1
            assert lag["normal", "waiting"] + lag["normal", "leased"] == 9
            assert lag["normal", "leased"] >= 4
            await first[0].cancel("not wanted")
            with pytest.raises(TaskCancelled):
                await first[0].result()
            while found.sum("muster_tasks_cancelled_total") < 1:
                found = await scraped(health)


async def test_what_a_crash_left_is_counted_by_who_finds_it(
    nats_server: NatsServer, name: str, tmp_path: Path, roles: Path
) -> None:
    """Its own process cannot tell any more: the attempt is a retry of the next worker's."""
    place = (nats_server.url, name, tmp_path)
    with worker_processes(*place, roles=str(roles)) as workers:
        workers.start("worker")
        async with await connected(*place) as fleet, asyncio.timeout(20):
            await bound(fleet, "worker")
            task = await fleet.publish("work.x", {"do": "crash"})
            (second,) = workers.start("worker")
            assert await task.result() == "done"
            health = (await addresses(fleet.bus.store, "worker"))[second]
            found = await scraped(health)
            while found.sum("muster_tasks_succeeded_total") < 1:
                found = await scraped(health)
    assert told(roles)["crash"] == 2
    assert found.sum("muster_tasks_started_total") == 1
    assert found.sum("muster_tasks_retried_total") == 1
    assert found.sum("muster_tasks_failed_total") == 0


async def test_a_page_is_told_without_the_broker(
    own_nats: Callable[[], NatsServer], name: str, tmp_path: Path, roles: Path
) -> None:
    """Without its lag, rather than with an old one; that it could not be asked is counted."""
    server = own_nats()
    place = (server.url, name, tmp_path)
    with worker_processes(*place, roles=str(roles)) as workers:
        (pid,) = workers.start("worker")
        async with await connected(*place) as fleet, asyncio.timeout(10):
            await bound(fleet, "worker")
            health = (await addresses(fleet.bus.store, "worker"))[pid]
            assert (await scraped(health)).by("muster_lag_tasks", "group").keys() == {("worker",)}
        await asyncio.to_thread(server.kill)
        async with asyncio.timeout(10):
            found = await scraped(health)
            while not (
                found.sum("muster_lag_errors_total") and found.sum("muster_pull_errors_total")
            ):
                found = await scraped(health)
    assert found.by("muster_lag_tasks", "group") == {}
    assert found.sum("muster_slots") == 4


@pytest.mark.parametrize("service", ["recorder", "scheduler"])
async def test_services_tell_of_themselves(
    nats_server: NatsServer, name: str, tmp_path: Path, service: str
) -> None:
    """Also while their database is away: memory, files, and who they are."""
    more = {
        "MUSTER_LOG_LEVEL": "info",
        "MUSTER_LOG_FORMAT": "json",
        "MUSTER_HISTORY_URL": f"postgresql://me@127.0.0.1:{ports.free()}/none",
    }
    with worker_processes(nats_server.url, name, tmp_path, more=more) as workers:
        (pid,) = workers.start(service)
        async with asyncio.timeout(20):
            found = await scraped(await told_address(tmp_path / f"{service}-0.log"))
            assert found.sum("muster_worker_info", pid=str(pid), fleet=name) == 1
            assert found.sum("process_open_fds") > 5
            while service == "recorder" and not found.by("muster_lag_tasks", "group"):
                found = await scraped(await told_address(tmp_path / f"{service}-0.log"))


async def told_address(log: Path) -> str:
    """Where a process answers, as its first line says."""
    while True:
        said = [line for line in read(log) if '"answering probes"' in line]
        if said:
            return str(json.loads(said[0])["metrics"]).removesuffix("/metrics")
        await asyncio.sleep(0.05)


def read(log: Path) -> list[str]:
    """Its lines."""
    return log.read_text(encoding="utf-8").splitlines()
