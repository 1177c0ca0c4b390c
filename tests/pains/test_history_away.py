"""Pain 15: history gone, or in the way. Here the database, its disk and the recorder fail under
full rate: no task waits for them, and afterwards everything that was told is kept, once."""

import asyncio
import errno
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import tests.soak
from contracts.topics import RECORDER
from knowledge.history.history import History
from tests.brokers import Broker
from tests.forms import form
from tests.freezing import freeze
from tests.pains.publisher import Publisher, publishing
from tests.pains.remembering import Remembering, counted, remembering, stories, until
from tests.servers import PostgresServer, open_folder
from tests.soak.judging import Sample, memory
from tests.watching import resident
from workers.fleet.presence import present

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

ROLES = Path(tests.soak.__file__).parent
"""A role that does nothing, as fast as it can."""

RATE = form(400.0, 4_000.0)
"""Tasks a second; in the long form as much as this machine can."""

MOST_BEHIND = 20_000
"""Tasks that wait for workers at the end of an outage, at most: they have kept up."""


@dataclass
class Watched:
    """What the processes held and what was done while somebody looked."""

    samples: list[Sample] = field(default_factory=list)

    def grown(self) -> Mapping[str, float]:
        """MiB that each process holds more than in the first sample."""
        first, last = self.samples[0].resident, self.samples[-1].resident
        return {name: last[name] - first[name] for name in first}


async def done(it: Remembering) -> int:
    """Tasks that workers have counted as succeeded."""
    return sum(one.succeeded for one in await present(it.fleet.bus.store, "soaker"))


@asynccontextmanager
async def watching(
    it: Remembering, pids: Mapping[str, int], publisher: Publisher
) -> AsyncIterator[Watched]:
    """Look once a second, for as long as the block lasts."""
    found, began = Watched(), time.monotonic()

    async def look() -> None:
        while True:
            held = {name: resident(pid) for name, pid in pids.items()}
            sample = Sample(time.monotonic() - began, held, publisher.look(), await done(it))
            found.samples.append(sample)
            await asyncio.sleep(form(0.2, 1.0))

    looking = asyncio.create_task(look())
    try:
        yield found
    finally:
        looking.cancel()
        await asyncio.wait([looking])


async def all_done(it: Remembering, publisher: Publisher) -> None:
    """Every accepted task is counted by the worker that did it."""

    async def holds() -> bool:
        return await done(it) >= len(publisher.accepted)

    await until(holds, form(20.0, 120.0))


async def complete(it: Remembering, history: History, publisher: Publisher) -> int:
    """Each accepted task is published, started and ended once in history, and the sums are those
    of what was accepted. How many events that are. The last ends may still be with their workers,
    who tell of many at once."""
    accepted = set(publisher.accepted)
    with suppress(TimeoutError):
        await until(lambda: _ended(history, accepted))
    await it.read()
    found = await stories(history)
    assert set(found.told) == accepted
    assert found.incomplete(accepted) == set()
    (usage,) = (await history.usage(by=())).found
    figures = (usage.published, usage.runs, usage.succeeded, usage.failed, usage.retried)
    assert figures == (len(accepted), len(accepted), len(accepted), 0, 0)
    assert [letter async for letter in it.fleet.bus.dead.all()] == []
    return (await counted(history)).total()


async def _ended(history: History, accepted: set[str]) -> bool:
    found = await stories(history)
    return set(found.told) == accepted and not found.incomplete(accepted)


@pytest.mark.long(420)
@pytest.mark.promise(24)
async def test_a_database_that_is_killed_under_full_rate_stops_no_task_and_loses_none(
    broker: Broker,
    own_postgres: Callable[[], PostgresServer],
    tmp_path: Path,
    happened: Callable[[str], None],
) -> None:
    """Long: away for a minute, in which more than 100,000 events are told."""
    away, least = form((1.5, 500), (60.0, 100_000))
    database, name = own_postgres(), f"away-{secrets.token_hex(4)}"
    arguments = (broker, database.url, name, tmp_path)
    async with remembering(*arguments, roles=ROLES, anew=True) as it:
        pids = it.workers.start("soaker", form(1, 2)) + it.workers.start(RECORDER)
        named = {RECORDER: pids[-1], **{f"worker {n}": pid for n, pid in enumerate(pids[:-1], 1)}}
        await it.seen("soaker", form(1, 2))
        await it.recording()
        with publishing(broker.url, name, tmp_path, "soak.x", rate=RATE) as publisher:
            await until_accepted(publisher, 200)
            async with it.history() as history:
                await until(lambda: some_are_recorded(history))
            await asyncio.to_thread(database.kill)
            before, began = await done(it), time.time()
            async with watching(it, named, publisher) as watched:
                await asyncio.sleep(away)  # the time it is away is the experiment
            ended, ran = time.time(), await done(it) - before
            behind, unread = publisher.look() - before - ran, await it.unread()
            await asyncio.to_thread(database.start)
            back = time.monotonic()
            accepted = publisher.stop()
        async with it.history() as history:
            await all_done(it, publisher)
            await it.read(form(20.0, 180.0))
            caught_up = time.monotonic() - back
            events = await complete(it, history, publisher)
            meanwhile = (await counted(history, began, ended)).total()
    happened(
        f"database killed, away {ended - began:.1f} s: meanwhile {ran} tasks done, "
        f"{behind} waiting, {unread} messages unread; {accepted} accepted, {events} events in "
        f"history, {meanwhile} of them told meanwhile, complete {caught_up:.1f} s after it was back"
    )
    happened("memory: " + ", ".join(f"{k} {v:+.1f} MiB" for k, v in watched.grown().items()))
    assert meanwhile >= least
    assert behind < MOST_BEHIND
    verdicts = memory(watched.samples)
    assert all(verdict.good for verdict in verdicts), verdicts


async def until_accepted(publisher: Publisher, count: int) -> None:
    """Return when so many tasks are accepted."""
    while publisher.look() < count:  # noqa: ASYNC110 - it tells by a file
        await asyncio.sleep(0.02)


async def some_are_recorded(history: History) -> bool:
    """Whether anything is in it."""
    return bool(await counted(history))


@pytest.mark.long(300)
@pytest.mark.promise(24)
async def test_recorders_killed_between_batches_lose_and_double_nothing(
    broker: Broker, history_url: str, tmp_path: Path, happened: Callable[[str], None]
) -> None:
    """The one that records is killed with -9 again and again, while it holds what it has not
    recorded or not forgotten; one that stands by goes on."""
    kills, name = form(2, 25), f"scribes-{secrets.token_hex(4)}"
    holding: list[int] = []
    async with remembering(broker, history_url, name, tmp_path, roles=ROLES) as it:
        it.workers.start("soaker")
        it.workers.start(RECORDER, 2)
        await it.seen("soaker")
        await it.seen(RECORDER, 2)
        async with it.history() as history:
            with publishing(
                broker.url, name, tmp_path, "soak.x", rate=form(400.0, 1_500.0)
            ) as publisher:
                for _ in range(kills):
                    recorded = (await counted(history)).total()
                    active = await it.recording()
                    await until(lambda at=recorded: more_recorded(history, at))  # type: ignore[misc]
                    holding.append(await kill_one_that_holds(it, active))
                    it.workers.start(RECORDER)
                accepted = publisher.stop()
            await all_done(it, publisher)
            await it.read(form(20.0, 60.0))
            events = await complete(it, history, publisher)
    happened(
        f"{kills} recorders killed, holding {holding} messages; {accepted} tasks accepted, "
        f"{events} events kept, none missing, none twice"
    )
    assert min(holding) > 0


async def more_recorded(history: History, than: int) -> bool:
    """Whether history has more events than this."""
    return (await counted(history)).total() > than


async def kill_one_that_holds(it: Remembering, pid: int) -> int:
    """Kill a recorder that stands still with messages in its hands; how many."""
    while True:
        freeze(pid)
        held = await it.held()
        if held:
            it.workers.kill(pid)
            return held
        it.workers.signal(pid, signal.SIGCONT)
        await asyncio.sleep(0.001)


SMALL = 200
"""MB of a disk on which a new database has room, though not much."""

LEFT = 64 * 1024
"""Bytes that are left of it when it is full."""


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A small disk of its own."""
    with open_folder() as folder:
        options = ["-t", "tmpfs", "-o", f"size={SMALL}m,mode=711", "tmpfs", str(folder)]
        mounted = subprocess.run(["mount", *options], capture_output=True, check=False)
        if mounted.returncode:
            pytest.skip("no disk can be mounted here: it takes root")
        yield folder
        subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """A file that leaves next to nothing of the disk, on which the database writes meanwhile."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        while not _take(file.fileno(), os.statvfs(disk)):
            pass
    return ballast


def _take(file: int, found: os.statvfs_result) -> bool:
    """Whether what was free is taken; not, where somebody else was quicker."""
    try:
        os.posix_fallocate(file, 0, found.f_bavail * found.f_frsize - LEFT)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
    return True


@pytest.mark.promise(24)
async def test_a_database_whose_disk_is_full_keeps_nobody_waiting_and_loses_nothing(
    broker: Broker, small_disk: Path, tmp_path: Path, happened: Callable[[str], None]
) -> None:
    """Its server refuses, or ends; it goes on where it was once there is room again."""
    database, name = PostgresServer(small_disk / "state"), f"full-{secrets.token_hex(4)}"
    database.start()
    try:
        arguments = (broker, database.url, name, tmp_path)
        async with remembering(*arguments, roles=ROLES) as it:
            it.workers.start("soaker")
            it.workers.start(RECORDER)
            await it.seen("soaker")
            recorder = await it.recording()
            ballast = await asyncio.to_thread(fill, small_disk)
            with publishing(
                broker.url, name, tmp_path, "soak.x", rate=form(1_500.0, 3_000.0)
            ) as publisher:
                said = await asyncio.to_thread(until_refused, database)
                await until_accepted(publisher, publisher.look() + 500)
                accepted = publisher.stop()
            await all_done(it, publisher)
            unread = await it.unread()
            ballast.unlink()
            await asyncio.to_thread(database.start)
            began = time.monotonic()
            await it.read()
            took = time.monotonic() - began
            assert recorder in it.workers.pids
            async with it.history() as history:
                events = await complete(it, history, publisher)
    finally:
        database.stop()
    happened(
        f"disk full ({said}): {accepted} tasks done meanwhile, {unread} messages unread; "
        f"with room again all {events} events are kept after {took:.1f} s"
    )
    assert unread > 0


def until_refused(database: PostgresServer) -> str:
    """What the server first says of its full disk."""
    while True:
        text = database.log.read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"(ERROR|FATAL|PANIC): .*No space left on device", text):
            return found[0]
        time.sleep(0.02)
