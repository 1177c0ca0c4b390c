"""Whoever follows the work: one at a time, from what really waits, and only where it may."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace

from pydantic_core import to_json

from bus.backends.memory import MemoryBackend, MemoryBroker
from bus.bus import Bus
from bus.keyvalue import keys
from bus.keyvalue.memory import MemoryKeyValue
from bus.stops import Kind
from contracts.clock import SystemClock
from tests.fleet.machines import LEASE, until
from workers.fleet import machine, orders
from workers.fleet.board import Board
from workers.fleet.client import FleetClient
from workers.fleet.machine import Machine, Offer
from workers.fleet.options import Options
from workers.fleet.orders import Order
from workers.fleet.presence import Alive
from workers.fleet.replicas import Range
from workers.fleet.scaler import Scaler

HERE = Machine.here("/", {"a": Offer(1)}, 0.0)
WORKER = Alive(
    role="a", worker="w", pid=1, host="h", since=0.0, at=0.0, concurrency=8, mean_run=1.0
)


class Scene:
    """A broker with the role `a`, one machine that has its code, and those who follow the work."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.broker = MemoryBroker(self.clock)
        self.bus = self.connect()
        self.client = FleetClient(self.bus, self.clock)
        self.tasks: dict[Scaler, list[asyncio.Task[None]]] = {}

    def connect(self) -> Bus:
        """As of another process."""
        store = MemoryKeyValue(self.broker.store)
        return Bus(MemoryBackend(self.broker), store, clock=self.clock)

    def follow(self, name: str) -> Scaler:
        """Begin to follow the work."""
        bus = self.connect()
        board = Board(bus.store, self.clock)
        scaler = Scaler(bus, self.clock, board, name, lease=LEASE, down_after=1.0)
        work = (board.follow(), scaler.run())
        self.tasks[scaler] = [asyncio.create_task(each) for each in work]
        return scaler

    async def shows(self, **more: int) -> None:
        """The worker of the role, as it shows itself."""
        value = to_json(asdict(replace(WORKER, **more)))  # type: ignore[arg-type]
        await self.bus.store.put(keys.alive("a", "w"), value)

    async def wants(self, replicas: int | Range, present: int = 0) -> None:
        """As `muster scale` does it."""
        await orders.give(self.bus.store, "a", Order(replicas, "ada@h", 0.0), present=present)

    async def publish(self, count: int) -> None:
        """Tasks that nobody takes."""
        await self.client.publish_many([("a.x", n) for n in range(count)], Options(reply=False))

    async def asked(self) -> int | None:
        """How many the work asks for."""
        found = (await orders.autos(self.bus.store)).get("a")
        return None if found is None else found.wanted

    async def leader(self) -> str | None:
        """Who follows the work."""
        found = await self.bus.store.get(keys.SCALER)
        return None if found is None else found.value.decode()

    async def until_asked(self, count: int) -> None:
        """Wait for it."""

        async def so() -> bool:
            return await self.asked() == count

        await until(so)


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    """One that ends with the block."""
    made = Scene()
    await made.bus.bind("a", ["a.#"])
    await made.bus.store.put(keys.machine(HERE.name), machine.encode(HERE))
    try:
        yield made
    finally:
        for tasks in made.tasks.values():
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_waits_brings_more_and_its_end_brings_fewer() -> None:
    async with scene() as at:
        await at.shows(running=8)
        await at.wants(Range(min=1, max=8))
        at.follow("one")
        await at.publish(160)  # sixteen places for ten seconds, beside the eight
        await at.until_asked(3)
        await at.bus.unbind("a", drop=True)
        await at.shows(running=0)
        await at.until_asked(1)


async def test_a_task_brings_the_first_one_where_there_is_none() -> None:
    async with scene() as at:
        await at.wants(Range(min=0, max=8))
        at.follow("one")
        await at.publish(1)
        await at.until_asked(1)


async def test_a_role_that_is_paused_stays_as_it_is() -> None:
    async with scene() as at:
        await at.shows(running=0)
        await at.wants(Range(min=1, max=8), present=2)
        await at.bus.stops.put(Kind.PAUSE, "a", by="ada", reason="")
        at.follow("one")
        await at.publish(500)
        await asyncio.sleep(2.5)
        assert await at.asked() == 2
        await at.bus.stops.lift(Kind.PAUSE, "a")
        await at.until_asked(7)


async def test_one_follows_at_a_time_and_another_goes_on_where_it_was() -> None:
    async with scene() as at:
        await at.shows(running=8)
        await at.wants(Range(min=1, max=8))
        await at.publish(160)
        first, second = at.follow("one"), at.follow("two")
        await at.until_asked(3)
        leader = await at.leader()
        assert leader in {"one", "two"}
        leading, other = (first, second) if leader == "one" else (second, first)
        leading.stop()
        await at.tasks[leading][1]

        async def taken_over() -> bool:
            return await at.leader() not in {None, leader}

        await until(taken_over)
        await at.publish(200)
        await at.until_asked(6)
        assert not at.tasks[other][1].done()


async def test_a_leader_that_is_killed_is_followed_by_another() -> None:
    async with scene() as at:
        await at.shows(running=8)
        await at.wants(Range(min=1, max=8))
        first = at.follow("one")
        await at.publish(160)
        await at.until_asked(3)
        for task in at.tasks[first]:
            task.cancel()
        at.follow("two")
        await at.publish(200)
        await at.until_asked(6)


async def test_nobody_looks_where_no_role_has_a_range() -> None:
    async with scene() as at:
        await at.wants(3)
        at.follow("one")
        await asyncio.sleep(1.5)
        assert await at.leader() is None
        assert await at.asked() is None


async def test_a_range_that_is_asked_for_anew_begins_with_what_is_there() -> None:
    """Also by whoever followed the role before, when it had another number."""
    async with scene() as at:
        await at.shows(running=8)
        await at.wants(Range(min=1, max=8))
        at.follow("one")
        await at.publish(160)
        await at.until_asked(3)
        await at.wants(6, present=3)
        await at.wants(Range(min=1, max=8), present=6)
        assert await at.asked() == 6
        await at.publish(320)
        await at.until_asked(7)
