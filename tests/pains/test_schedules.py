"""Pain 10: the scheduler is a single point of failure, or fires twice. Here any number of them run,
they die at the worst moments, and each tick is fired once, in time."""

import asyncio
import math
import os
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from statistics import median

import pytest

from bus.bus import Bus
from contracts.ids import tick_id
from knowledge.schedules.rows import Schedule
from knowledge.schedules.ticks import Misfire, timing
from tests.brokers import Broker
from tests.forms import form
from tests.pains.doomed import MOMENTS
from tests.servers import PostgresServer
from workers.scheduling import open_schedules
from workers.settings import Loaded, load
from workers.wiring import open_bus

NAME = "ticking"
SCHEDULERS = 3
BUSY = 2.0
"""Seconds that a busy machine may need beyond the one that is promised, in the short form."""


class Schedulers:
    """So many processes, started again where one dies."""

    def __init__(self, loaded: Loaded, bombs: Path) -> None:
        settings = loaded.settings
        self.deaths = 0
        self._bombs = bombs
        self._log = loaded.folder / "schedulers.log"
        self._environment = {
            **os.environ,
            "MUSTER_BUS_URL": str(settings.bus.url),
            "MUSTER_FLEET_NAME": settings.fleet.name,
            "MUSTER_HISTORY_URL": str(settings.history.url),
        }
        self._processes = [self._start() for _ in range(SCHEDULERS)]

    async def ready(self) -> None:
        """Return when every one that was started first has reached its broker."""
        while self._log.read_bytes().count(b"ready\n") < SCHEDULERS:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    def look(self) -> None:
        """Start those again that have died."""
        for place, process in enumerate(self._processes):
            if process.poll() is not None:
                self.deaths += 1
                self._processes[place] = self._start()

    def end(self) -> None:
        """End all."""
        for process in self._processes:
            process.kill()
            process.wait(10)

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.pains.doomed", str(self._bombs)],
                cwd=self._log.parent,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


@contextmanager
def _schedulers(loaded: Loaded, bombs: Path) -> Iterator[Schedulers]:
    found = Schedulers(loaded, bombs)
    try:
        yield found
    finally:
        found.end()


def _schedule(first: float) -> Schedule:
    now = first - 1
    return Schedule(
        name=NAME,
        topic="tick.x",
        payload="{}",
        timing=timing(cron="* * * * * *", at=None, zone="Europe/Berlin", now=now),
        misfire=Misfire.ALL,
        tenant="default",
        priority="normal",
        made=now,
        next=first,
    )


async def _heard(bus: Bus, wait: float) -> list[tuple[str, float]]:
    found = await bus.pull("reporter", free=100, wait=wait)
    for delivery in found:
        await bus.forget(delivery)
    return [(delivery.message.id, time.time()) for delivery in found]


@pytest.mark.postgres
@pytest.mark.slow
@pytest.mark.long(360)
async def test_each_tick_fires_once_in_time_whoever_is_killed_at_it(
    broker: Broker,
    postgres_server: PostgresServer,
    history_url: str,
    tmp_path: Path,
    happened: Callable[[str], None],
) -> None:
    count, every = form(6, 200), form(2, 3)
    fleet = f"ticks-{secrets.token_hex(4)}"
    flags = {"bus.url": broker.url, "fleet.name": fleet, "history.url": history_url}
    loaded = load(tmp_path, flags=flags)
    async with AsyncExitStack() as stack:
        bus, schedules = await open_bus(loaded), await open_schedules(loaded)
        stack.push_async_callback(bus.close)
        stack.push_async_callback(schedules.close)
        await bus.bind("reporter", ["tick.#"])
        schedulers = stack.enter_context(_schedulers(loaded, tmp_path))
        await schedulers.ready()
        first = math.ceil(time.time()) + 1.0
        ids = [tick_id(NAME, first + number) for number in range(count)]
        doomed = ids[1::every]
        for task, moment in zip(doomed, cycle(MOMENTS), strict=False):
            (tmp_path / f"{moment}-{task}").touch()
        assert await schedules.add(_schedule(first))
        came: list[tuple[str, float]] = []
        async with asyncio.timeout(count + 30):
            while schedulers.deaths < len(doomed) or not {*ids} <= {task for task, _ in came}:
                came += await _heard(bus, wait=0.2)
                schedulers.look()
        assert await schedules.remove(NAME)
        while more := await _heard(bus, wait=1.0):
            came += more
    times = Counter(task for task, _ in came)
    late = [at - (first + ids.index(task)) for task, at in came if task in ids]
    happened(
        f"{count} ticks, {schedulers.deaths} schedulers killed as they fired one: "
        f"{times.total() - len(times)} fired twice, {len(set(ids) - set(times))} missing, "
        f"{max(late):.2f} s late at most, {median(late) * 1000:.0f} ms in the middle"
    )
    assert {task: times[task] for task in ids} == dict.fromkeys(ids, 1)
    assert max(times.values()) == 1
    assert schedulers.deaths >= len(doomed)
    assert max(late) <= 1.0 + form(BUSY, 0.0)
