"""What a process knows of stops, and when it does not know."""

import asyncio

import pytest

from bus.backends.memory import MemoryBackend, MemoryBroker
from bus.bus import Bus
from bus.keyvalue.memory import MemoryKeyValue, MemoryStore
from bus.stop_view import FRESH, StopView
from bus.stops import Kind
from contracts.clock import ManualClock
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import SOON
from tests.bus.rooms import bus_of, envelope, memory_bus


class Machine(ManualClock):
    """A clock whose machine sleeps: wall time passes, the monotonic clock stands still."""

    slept = 0.0

    def wall(self) -> float:
        return super().wall() + self.slept


def view_on(store: MemoryStore, clock: ManualClock) -> StopView:
    """A view of this store by this clock."""
    view = StopView(MemoryKeyValue(store), clock)
    view.start()
    return view


async def test_marks_are_seen_within_a_second_by_every_process(world: World) -> None:
    """And are there for those that come later."""
    bus, other = await bus_of(world), await bus_of(world)
    view = other.stop_view
    await world.within(SOON, view.until(lambda: view.fresh))
    assert view.stopped(envelope(), "g") is None
    await bus.stops.put(Kind.TASK, "t1", by="ada", reason="wrong")
    await world.within(1.0, view.until(lambda: view.stopped(envelope(), "g") is not None))
    stop = view.stopped(envelope(), "g")
    assert stop is not None
    assert stop.reason == "cancelled by ada: wrong"
    await bus.stops.put(Kind.PAUSE, "g")
    await world.within(1.0, view.until(lambda: view.is_paused("g")))
    late = (await bus_of(world)).stop_view
    await world.within(SOON, late.until(lambda: late.fresh))
    assert late.is_paused("g")
    assert late.stopped(envelope(), "h") is not None
    await bus.stops.lift(Kind.PAUSE, "g")
    await world.within(1.0, view.until(lambda: not view.is_paused("g")))
    assert not view.is_paused("h")


@pytest.mark.promise(23)
async def test_a_judgement_waits_until_everything_of_the_last_second_is_known() -> None:
    """And then knows it."""
    clock = ManualClock()
    store = MemoryStore(clock)
    bus = Bus(MemoryBackend(MemoryBroker(clock, lease=5.0)), MemoryKeyValue(store), clock=clock)
    view = view_on(store, clock)
    await clock.advance(0.5)
    store.outage()
    await clock.advance(2.0)
    assert not view.fresh
    judging = asyncio.create_task(view.judge(envelope(), "g"))
    await clock.advance(5.0)
    assert not judging.done()
    store.restore()
    store.put("stop/all", b'{"at": 9e9, "by": "ada", "reason": ""}', None, None)
    await clock.advance(1.0)
    stop = judging.result()
    assert stop is not None
    assert stop.reason == "cancelled by ada"
    await view.close()
    await bus.close()


@pytest.mark.promise(23)
async def test_a_view_is_fresh_only_as_long_as_it_is_confirmed() -> None:
    """By the larger of both clocks: a machine that slept knows nothing of that time."""
    clock = Machine()
    store = MemoryStore(clock)
    view = view_on(store, clock)
    states = [view.fresh]
    await clock.advance(0.1)
    states.append(view.fresh)
    clock.slept = FRESH
    states.append(view.fresh)
    await clock.advance(0.5)
    states.append(view.fresh)
    store.outage()
    await clock.advance(FRESH + 0.1)
    states.append(view.fresh)
    assert states == [False, True, False, True, False]
    await view.close()


async def test_who_listens_is_told_of_changes_and_of_a_view_that_is_fresh_again() -> None:
    """What waits for a fresh view must be started without any other event."""
    clock = ManualClock()
    bus, _, broker = memory_bus(clock)
    told: list[bool] = []
    bus.stop_view.changed.append(lambda: told.append(bus.stop_view.fresh))
    bus.stop_view.start()
    await clock.advance(10.0)
    assert told[-1]
    calls = len(told)
    assert calls <= 2
    broker.store.outage()
    await clock.advance(FRESH + 1.0)
    assert (len(told), bus.stop_view.fresh) == (calls, False)
    broker.store.restore()
    await clock.advance(0.5)
    assert told[-1]
    assert len(told) > calls
    await bus.close()
    assert not bus.stop_view.fresh
