"""The scheduler: each tick once, by the clock's hand, over a real database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from bus.backend import Lane, LaneName
from bus.backends.memory import MemoryBackend, MemoryBroker
from bus.bus import Bus
from bus.keyvalue.memory import MemoryKeyValue
from contracts.clock import ManualClock, SystemClock
from contracts.ids import tick_id
from knowledge.database.database import Database
from knowledge.schedules.rows import Schedule
from knowledge.schedules.store import Schedules
from knowledge.schedules.ticks import Misfire, Timing
from tests.servers import PostgresServer
from workers.fleet.scheduler import Scheduler

pytestmark = pytest.mark.postgres

START = 1_768_478_400.0
GROUP = "reporter"
LANES = tuple(Lane(name) for name in LaneName)


class Sleeping:
    """The clock of one scheduler, which knows whether that sleeps: time stands still while it
    works, for its database answers in real time."""

    def __init__(self, clock: ManualClock) -> None:
        self.wall = clock.wall
        self.monotonic = clock.monotonic
        self.asleep = False
        self._clock = clock

    async def sleep(self, seconds: float) -> None:
        """As the clock does."""
        self.asleep = True
        try:
            await self._clock.sleep(seconds)
        finally:
            self.asleep = False


class World:
    """Schedulers over one in-memory broker and one real database."""

    def __init__(self, url: str) -> None:
        self.clock = ManualClock(START - 0.5)
        self.broker = MemoryBroker(self.clock, lease=3600.0)
        self.url = url
        self.opened: list[Schedules] = []
        self.clocks: list[Sleeping] = []
        self.bus = self.connect()

    def connect(self) -> Bus:
        """A connection to the broker."""
        store = MemoryKeyValue(self.broker.store)
        return Bus(MemoryBackend(self.broker), store, clock=self.clock)

    async def open(self) -> Schedules:
        """A connection to the database."""
        found = Schedules(await Database.open(self.url, connections=2))
        self.opened.append(found)
        return found

    @asynccontextmanager
    async def running(self, bus: Bus) -> AsyncIterator[Scheduler]:
        """A scheduler that ends with the block."""
        clock = Sleeping(self.clock)
        scheduler = Scheduler(bus, self.open, clock)
        task = asyncio.create_task(scheduler.run())
        self.clocks.append(clock)
        try:
            yield scheduler
        finally:
            self.clocks.remove(clock)
            scheduler.stop()
            await asyncio.wait_for(task, 10)

    async def until(self, holds: Callable[[], object]) -> None:
        """Let the clock run until something holds, 200 s at most."""
        end = self.clock.wall() + 200.0
        while not holds():
            assert self.clock.wall() < end, "it never comes"
            await self._step()

    async def eventually(self, holds: Callable[[], Awaitable[object]]) -> None:
        """Let the clock run until something in the database holds, 200 s at most."""
        end = self.clock.wall() + 200.0
        while not await holds():
            assert self.clock.wall() < end, "it never comes"
            await self._step()

    async def _step(self) -> None:
        await asyncio.sleep(0.001)
        if all(clock.asleep for clock in self.clocks):
            await self.clock.advance(0.25)

    async def close(self) -> None:
        """Let go of the database."""
        for opened in self.opened:
            await opened.close()
        await self.bus.close()

    async def published(self) -> list[str]:
        """The ids of the tasks that are there now, each only told once."""
        found = await MemoryBackend(self.broker).pull(GROUP, LANES, limit=1000, wait=0.0)
        return [delivery.message.id for delivery in found]


@pytest.fixture
async def world(history_url: str) -> AsyncIterator[World]:
    """Nothing is scheduled yet; one role listens."""
    found = World(history_url)
    await found.bus.bind(GROUP, ["report.#"])
    yield found
    await found.close()


def _made(name: str, timing: Timing, misfire: Misfire = Misfire.ONCE) -> Schedule:
    return Schedule(
        name=name,
        topic="report.x",
        payload="{}",
        timing=timing,
        misfire=misfire,
        tenant="acme",
        priority="high",
        deadline=60.0,
        made=START,
        next=timing.after(START - 1),
    )


MINUTELY = Timing("* * * * *", None, "UTC")


def _ids(name: str, *ticks: float) -> list[str]:
    return [tick_id(name, START + tick) for tick in ticks]


async def _fired(store: Schedules, name: str) -> int:
    found = await store.get(name)
    assert found is not None
    return found.fired


async def _error(store: Schedules, name: str) -> str:
    found = await store.get(name)
    return found.error or "" if found else ""


async def test_each_tick_is_one_task_with_all_that_was_said(world: World) -> None:
    store = await world.open()
    await store.add(_made("a", MINUTELY))
    async with world.running(world.bus):
        await world.until(lambda: world.clock.wall() > START + 125)
    found = await MemoryBackend(world.broker).pull(GROUP, LANES, limit=10, wait=0.0)
    assert [d.message.id for d in found] == _ids("a", 0, 60, 120)
    first = found[0].message
    assert (first.topic, first.body) == ("report.x", b"{}")
    headers = dict(first.headers)
    assert (headers["muster-tenant"], headers["muster-priority"]) == ("acme", "high")
    assert float(headers["muster-deadline"]) - START < 62
    assert headers["muster-correlation"] == "schedule/a"
    assert await _fired(store, "a") == 3


async def test_several_schedulers_publish_each_tick_once(world: World) -> None:
    store = await world.open()
    for name in "abcde":
        await store.add(_made(name, MINUTELY))
    async with (
        world.running(world.connect()),
        world.running(world.connect()),
        world.running(world.connect()),
    ):
        await world.until(lambda: world.clock.wall() > START + 65)
    expected = [tick for name in "abcde" for tick in _ids(name, 0, 60)]
    assert sorted(await world.published()) == sorted(expected)


class CutOff:
    """A bus after whose first publish every session that has claimed something is ended."""

    def __init__(self, world: World) -> None:
        self.bus = world.connect()
        self.done = asyncio.Event()
        self._url = world.url
        self._publish = self.bus.publish
        self.bus.publish = self.publish  # type: ignore[method-assign]

    async def publish(self, *arguments: Any, **more: Any) -> frozenset[str]:
        """In place of `Bus.publish`."""
        held = await self._publish(*arguments, **more)
        if not self.done.is_set():
            killer = await asyncpg.connect(self._url)
            await killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE state = 'idle in transaction' AND datname = current_database()"
            )
            await killer.close()
            self.done.set()
        return held


async def test_one_that_cannot_write_down_what_it_did_doubles_nothing(world: World) -> None:
    """Its session is ended between publishing and moving on; it has the tick again then."""
    store = await world.open()
    await store.add(_made("a", MINUTELY))
    cut_off = CutOff(world)
    async with world.running(cut_off.bus):
        await world.until(cut_off.done.is_set)
        await world.eventually(lambda: _fired(store, "a"))
    assert await world.published() == _ids("a", 0)


async def test_what_one_had_claimed_that_died_of_publishing_is_fired_by_another(
    world: World,
) -> None:
    store = await world.open()
    await store.add(_made("a", MINUTELY))
    dying, dead = world.connect(), asyncio.Event()

    async def die(*_: object, **__: object) -> frozenset[str]:
        dead.set()
        raise ZeroDivisionError

    dying.publish = die  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        async with world.running(dying):
            await world.until(dead.is_set)
    async with world.running(world.bus):
        await world.until(lambda: world.clock.wall() > START + 20)
    assert await world.published() == _ids("a", 0)


async def test_one_that_is_paused_fires_nothing_until_it_is_resumed(world: World) -> None:
    store = await world.open()
    await store.add(_made("a", MINUTELY))
    await store.pause("a")
    async with world.running(world.bus):
        await world.until(lambda: world.clock.wall() > START + 65)
        assert await world.published() == []
        await store.resume("a", world.clock.wall())
        await world.until(lambda: world.clock.wall() > START + 125)
    assert await world.published() == _ids("a", 120)


async def test_nor_does_one_that_takes_over_long_after_the_brokers_window(world: World) -> None:
    """The whole fleet went down between publishing and moving on, for ten minutes."""
    store = await world.open()
    await store.add(_made("once", Timing(None, START + 1, "UTC")))
    cut_off = CutOff(world)
    async with world.running(cut_off.bus) as scheduler:
        await world.until(cut_off.done.is_set)
        scheduler.stop()
    assert await _fired(store, "once") == 0
    await world.clock.advance(600.0)
    async with world.running(world.bus):
        await world.eventually(lambda: _fired(store, "once"))
    assert await world.published() == _ids("once", 1)


async def test_a_topic_nobody_listens_to_is_tried_until_somebody_does(world: World) -> None:
    store = await world.open()
    lost = _made("lost", Timing("0 * * * *", None, "UTC"))
    await store.add(lost)
    await world.bus.unbind(GROUP)
    async with world.running(world.bus):
        await world.until(lambda: world.clock.wall() > START + 2)
        await world.eventually(lambda: _error(store, "lost"))
        found = await store.get("lost")
        assert found is not None
        assert found.next == START
        assert "report.x" in await _error(store, "lost")
        await world.bus.bind(GROUP, ["report.#"])
        await world.until(lambda: world.clock.wall() > START + 12)
        await world.eventually(lambda: _fired(store, "lost"))
    assert await world.published() == _ids("lost", 0)


@pytest.mark.parametrize(
    ("misfire", "expected"), [("skip", []), ("once", [600]), ("all", list(range(0, 601, 60)))]
)
async def test_what_was_missed_while_no_scheduler_ran(
    world: World, misfire: str, expected: list[float]
) -> None:
    store = await world.open()
    await store.add(_made("a", MINUTELY, Misfire(misfire)))
    await world.clock.advance(630.0)
    async with world.running(world.bus):
        await world.until(lambda: world.clock.wall() > START + 655)
        assert await world.published() == _ids("a", *expected)


async def test_a_one_off_fires_once_and_is_done(world: World) -> None:
    store = await world.open()
    await store.add(_made("once", Timing(None, START + 3.25, "UTC")))
    async with world.running(world.bus):
        await world.until(lambda: world.clock.wall() > START + 60)
    assert await world.published() == _ids("once", 3.25)
    found = await store.get("once")
    assert found is not None
    assert found.next is None


async def test_what_is_added_is_seen_within_a_second(world: World) -> None:
    async with world.running(world.bus) as scheduler:
        await world.until(lambda: not scheduler.troubles())
        store = await world.open()
        at = world.clock.wall() + 0.1
        await store.add(_made("a", Timing(None, at, "UTC")))
        await world.until(lambda: world.clock.wall() > at + 1.2)
        assert await world.published() == [tick_id("a", at)]


async def test_a_broker_that_takes_nothing_holds_no_other_scheduler_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.fleet.scheduler._PATIENCE", 0.2)
    store = await world.open()
    await store.add(_made("a", MINUTELY))
    cut_off, stuck = world.connect(), asyncio.Event()

    async def never(*_: object, **__: object) -> frozenset[str]:
        stuck.set()
        await asyncio.Event().wait()
        raise AssertionError

    cut_off.publish = never  # type: ignore[method-assign]
    async with world.running(cut_off):
        await world.until(stuck.is_set)
        await world.eventually(lambda: _error(store, "a"))
    async with world.running(world.bus):
        await world.until(lambda: world.clock.wall() > START + 10)
        await world.eventually(lambda: _fired(store, "a"))
    assert await world.published() == _ids("a", 0)


async def _until(holds: Callable[[], object]) -> None:
    while True:
        if holds():
            return
        await asyncio.sleep(0.01)


async def test_it_waits_for_a_database_that_is_away_and_says_so(
    own_postgres: Callable[[], PostgresServer],
) -> None:
    server = own_postgres()
    clock = SystemClock()
    broker = MemoryBroker(clock, lease=3600.0)
    bus = Bus(MemoryBackend(broker), MemoryKeyValue(broker.store), clock=clock)
    await bus.bind(GROUP, ["report.#"])

    async def open_schedules() -> Schedules:
        return Schedules(await Database.open(server.url, connections=2))

    store = await open_schedules()
    scheduler = Scheduler(bus, open_schedules, clock)
    running = asyncio.create_task(scheduler.run())
    await _until(lambda: not scheduler.troubles())
    server.kill()
    await _until(lambda: "cannot be reached" in scheduler.troubles().get("schedules", ""))
    server.restart()
    await _until(lambda: not scheduler.troubles())
    at = clock.wall() + 0.3
    await store.add(_made("after", Timing(None, at, "UTC")))
    (found,) = await MemoryBackend(broker).pull(GROUP, LANES, limit=9, wait=5.0)
    assert found.message.id == tick_id("after", at)
    assert clock.wall() - at < 3.0
    scheduler.stop()
    await running
    await bus.close()
    await store.close()
