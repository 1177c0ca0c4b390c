"""Promise 16 where work is done: what is noticed when the broker is away, and that work goes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bus.bus import Bus
from bus.errors import Unreachable
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import eventually, persist
from tests.bus.rooms import bus_of, envelope

NOT_READY = 5.0
"""Seconds without an answer after which a process may not call itself ready."""

BACK = 5.0
"""Seconds from the first operation that succeeds until work goes on."""

silently = pytest.mark.parametrize("silently", [True, False], ids=["hangs", "breaks"])


@asynccontextmanager
async def working(world: World) -> AsyncIterator[tuple[Bus, list[str]]]:
    """A member that pulls and settles as a worker does, and the ids it is done with."""
    bus = await bus_of(world)
    done: list[str] = []
    tasks = [asyncio.create_task(bus.contact.keep()), asyncio.create_task(_work(world, bus, done))]
    try:
        yield bus, done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _work(world: World, bus: Bus, done: list[str]) -> None:
    while True:
        try:
            found = await bus.pull("g", free=10, wait=20.0)
        except Unreachable:
            await world.clock.sleep(0.1)
            continue
        done.extend([d.message.id for d in found if await bus.forget(d)])


async def do(world: World, bus: Bus, done: list[str], names: list[str], seconds: float) -> None:
    """Publish these; the test fails if they are not done with in time."""

    async def publish() -> None:
        await bus.publish([envelope(name) for name in names])

    await world.within(seconds, publish())

    async def all_done() -> bool:
        return set(names) <= set(done)

    await eventually(world, seconds, all_done)


@pytest.mark.promise(16)
@silently
async def test_a_broker_that_is_away_is_noticed_and_so_is_its_return(
    far: World, silently: bool
) -> None:
    """16: in about five seconds, although all that is under way is a pull that waits."""
    async with working(far) as (bus, _):
        await far.pass_time(0.3)
        assert bus.contact.silence <= 1.0
        await far.cut_off(silently=silently)

        async def noticed() -> bool:
            return bus.contact.silence >= NOT_READY

        async def answered() -> bool:
            return bus.contact.silence < 1.0

        await eventually(far, NOT_READY + 1.0, noticed)
        await far.reconnect()
        await eventually(far, BACK, answered)


@pytest.mark.promise(16, 18)
async def test_an_idle_pull_is_not_taken_for_a_broker_that_is_away(far: World) -> None:
    """16: whoever waits in vain is ready, and stays it."""
    async with working(far) as (bus, _):
        for _ in range(12):
            await far.pass_time(0.5)
            assert bus.contact.silence < NOT_READY - 1.0


@pytest.mark.promise(16)
@silently
async def test_work_goes_on_within_five_seconds_of_a_cut_network(
    far: World, silently: bool
) -> None:
    """16: of the first operation of another connection that succeeds; nothing is left lying."""
    async with working(far) as (bus, done):
        await do(far, bus, done, ["before"], BACK)
        await far.cut_off(silently=silently)
        await far.pass_time(5.5)
        await far.reconnect()
        other = await far.within(BACK, _connected(far))
        await far.within(BACK, persist(far, lambda: other.lag("g")))
        await do(far, bus, done, [f"after{n}" for n in range(20)], BACK)


async def _connected(world: World) -> Bus:
    async def connect() -> Bus:
        return Bus(await world.backend(), await world.keyvalue(), clock=world.clock)

    return await persist(world, connect)


@pytest.mark.promise(16)
async def test_work_goes_on_after_each_restart_of_the_broker(mortal: World) -> None:
    """16: again and again, each time within five seconds."""
    async with working(mortal) as (bus, done):
        for round_ in range(3):
            await mortal.kill_broker()
            await do(mortal, bus, done, [f"r{round_}-{n}" for n in range(20)], BACK)
