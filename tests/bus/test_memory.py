"""What only the in-memory bus has: time by hand, faults on demand, several threads, speed."""

import asyncio
import time
from collections.abc import Sequence

import pytest

from bus.backend import HIGH, LOW, NORMAL, RETRY, Delivery, Message
from bus.backends.memory import MemoryBackend, MemoryBroker
from bus.errors import Closed, Unreachable
from bus.keyvalue.memory import MemoryKeyValue
from contracts.clock import ManualClock, SystemClock

ORDER = (HIGH, RETRY, NORMAL, LOW)


def message(id_: str, *, due: float = 0.0) -> Message:
    return Message(id_, 0, "a", b"{}", due=due)


async def pull(backend: MemoryBackend, wait: float = 0.0) -> Sequence[Delivery]:
    return await backend.pull("g", ORDER, limit=100, wait=wait)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def broker(clock: ManualClock) -> MemoryBroker:
    made = MemoryBroker(clock, lease=10.0)
    await MemoryBackend(made).bind("g", ["#"])
    return made


@pytest.mark.promise(4)
async def test_a_key_is_forgotten_after_its_window(
    broker: MemoryBroker, clock: ManualClock
) -> None:
    """Promise 4: two minutes, counted from the first; a repetition does not prolong them."""
    backend = MemoryBackend(broker)
    await backend.publish([message("a")])
    await backend.settle(await pull(backend))
    await clock.advance(119.0)
    await backend.publish([message("a")])
    assert await pull(backend) == []
    await clock.advance(1.5)
    await backend.publish([message("a")])
    assert len(await pull(backend)) == 1


@pytest.mark.promise(6)
async def test_a_wake_takes_no_time(broker: MemoryBroker, clock: ManualClock) -> None:
    """6: whoever waits has the message before the clock moves on; nobody asks now and then."""
    backend, publisher = MemoryBackend(broker), MemoryBackend(broker)
    waiting = asyncio.create_task(pull(backend, wait=30.0))
    await clock.advance(1.0)
    await publisher.publish([message("a")])
    await clock.advance(0.0)
    assert waiting.done()
    assert [delivery.message.id for delivery in waiting.result()] == ["a"]


async def test_time_stands_still_until_it_is_moved(
    broker: MemoryBroker, clock: ManualClock
) -> None:
    """A wait, a due message and a lease end by the clock's hand, each at its moment."""
    backend, other = MemoryBackend(broker), MemoryBackend(broker)
    await backend.publish([message("a", due=clock.wall() + 3600)])
    waiting = asyncio.create_task(pull(backend, wait=7200))
    await clock.advance(3599.9)
    assert not waiting.done()
    await clock.advance(0.1)
    assert len(await waiting) == 1
    rival = asyncio.create_task(pull(other, wait=60))
    await clock.advance(9.9)
    assert not rival.done()
    await clock.advance(0.1)
    assert [d.earlier for d in await rival] == [1]
    empty = asyncio.create_task(pull(backend, wait=5))
    await clock.advance(4.9)
    assert not empty.done()
    await clock.advance(0.1)
    assert await empty == []


async def test_a_crashed_connection_is_gone_and_its_messages_come_back(
    broker: MemoryBroker, clock: ManualClock
) -> None:
    """Its calls raise `Closed`, those under way too."""
    crashing, other = MemoryBackend(broker), MemoryBackend(broker)
    await other.publish([message("a")])
    held = await pull(crashing)
    waiting = asyncio.create_task(pull(crashing, wait=60))
    await clock.advance(0)
    broker.crash(crashing)
    with pytest.raises(Closed):
        await waiting
    with pytest.raises(Closed):
        await crashing.settle(held)
    await clock.advance(10.0)
    assert [d.message.id for d in await pull(other)] == ["a"]


async def test_during_an_outage_every_call_raises_unreachable(
    broker: MemoryBroker, clock: ManualClock
) -> None:
    """Those under way too; afterwards everything is there, but time went on."""
    backend, store = MemoryBackend(broker), MemoryKeyValue(broker.store)
    await backend.publish([message("a")])
    await store.put("k", b"v")
    held = await pull(backend)
    waiting = asyncio.create_task(pull(backend, wait=60))
    await clock.advance(1.0)
    broker.outage()
    with pytest.raises(Unreachable):
        await waiting
    for call in (backend.settle(held), backend.publish([message("b")]), store.get("k")):
        with pytest.raises(Unreachable):
            await call
    await clock.advance(9.5)
    broker.restore()
    assert await backend.settle(held) == held
    assert [d.message.id for d in await pull(backend)] == ["a"]
    assert (await store.get("k")) is not None


async def test_a_keeper_in_another_thread_may_extend() -> None:
    """As the lease keeper of a worker does, on a loop and a connection of its own."""
    broker = MemoryBroker(SystemClock(), lease=0.4)
    backend, rival = MemoryBackend(broker), MemoryBackend(broker)
    await backend.bind("g", ["#"])
    await backend.publish([message("a")])
    held = await pull(backend)

    async def keep() -> list[Delivery]:
        keeper, lost = MemoryBackend(broker), []
        for _ in range(12):
            lost += await keeper.extend(held)
            await asyncio.sleep(0.1)
        return lost

    keeping = asyncio.create_task(asyncio.to_thread(asyncio.run, keep()))
    assert await pull(rival, wait=1.0) == []
    assert await keeping == []
    assert await backend.settle(held) == []


async def test_a_publish_from_another_thread_wakes_a_pull() -> None:
    """The loops need not be the same."""
    broker = MemoryBroker(SystemClock())
    backend = MemoryBackend(broker)
    await backend.bind("g", ["#"])
    waiting = asyncio.create_task(pull(backend, wait=10.0))
    await asyncio.to_thread(asyncio.run, MemoryBackend(broker).publish([message("a")]))
    async with asyncio.timeout(2.0):
        assert len(await waiting) == 1


@pytest.mark.promise(6)
async def test_the_wake_of_a_cancelled_pull_is_passed_on(
    broker: MemoryBroker, clock: ManualClock
) -> None:
    """Promise 6: rung and cancelled before it could look, it leaves the message to the next."""
    backend = MemoryBackend(broker)
    first, second = (asyncio.create_task(pull(backend, wait=60)) for _ in "12")
    await clock.advance(0)
    await backend.publish([message("a")])
    first.cancel()
    await clock.advance(0)
    assert first.cancelled()
    assert len(await second) == 1


async def test_what_a_publisher_changes_afterwards_changes_nothing(broker: MemoryBroker) -> None:
    """A message is what it was when it was accepted."""
    backend, headers = MemoryBackend(broker), {"name": "before"}
    await backend.publish([Message("a", 0, "a", b"{}", headers)])
    headers["name"] = "after"
    (delivery,) = await pull(backend)
    assert delivery.message.headers == {"name": "before"}


async def test_it_is_fast_enough_for_whole_fleets() -> None:
    """20,000 messages through eight members; typically 60,000 a second, 10,000 demanded."""
    broker, count = MemoryBroker(SystemClock()), 20_000
    backend, left = MemoryBackend(broker), count
    await backend.bind("g", ["#"])

    async def work() -> None:
        nonlocal left
        member = MemoryBackend(broker)
        while left:
            found = await pull(member, wait=0.05)
            left -= len(found)
            assert await member.settle(found) == []

    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(work())
        for first in range(0, count, 200):
            await backend.publish([message(str(n)) for n in range(first, first + 200)])
    assert count / (time.perf_counter() - start) > 10_000
