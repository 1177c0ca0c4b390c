"""Promise 7: of ten starts one is a lower lane's, and slices take turns, at any size of a pull."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.backend import SLICES, Delivery, Lane, LaneName, Message
from bus.bus import Bus
from bus.lanes import Line, slice_of
from bus.turns import even, share_out
from contracts.envelope import DEFAULT_TENANT, Envelope, Priority
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import SOON
from tests.bus.rooms import envelope
from tests.forms import form

SIZES = pytest.mark.parametrize("limit", [1, 7, 64, 500])
HIGH, NORMAL, LOW = Priority
TENANTS = {slice_of(name) % 4: name for name in map(str, range(100))}
"""A tenant for each of four slices."""


async def bus_of(world: World, slices: int = 1) -> Bus:
    """A bus in this world, cut into slices, with group `g` bound to `work.#`."""
    world.cut(slices)
    store = await world.keyvalue()
    bus = Bus(await world.backend(), store, clock=world.clock, slices=slices)
    await bus.bind("g", ["work.#"])
    return bus


def work(count: int, prefix: str, **fields: object) -> list[Envelope]:
    """So many tasks whose ids begin with `prefix`."""
    return [envelope(f"{prefix}{number}", **fields) for number in range(count)]


async def started(world: World, bus: Bus, count: int, limit: int) -> list[Delivery]:
    """The first starts of a member that pulls `limit` at a time, each settled at once."""
    found: list[Delivery] = []
    while len(found) < count:
        batch = await world.within(SOON, bus.pull("g", free=limit, wait=1.0))
        assert batch, f"nothing more after {len(found)}"
        await world.within(SOON, bus._backend.settle(batch))
        found += batch
    return found[:count]


def lanes(found: Sequence[Delivery]) -> list[LaneName]:
    """The lane of each."""
    return [delivery.message.lane.name for delivery in found]


def tenants(found: Sequence[Delivery]) -> list[str]:
    """The tenant of each."""
    return [d.message.headers.get("muster-tenant", DEFAULT_TENANT) for d in found]


def in_tens(found: Sequence[Delivery], name: LaneName) -> list[int]:
    """How many of a lane are among each ten starts."""
    all_ = lanes(found)
    return [all_[start : start + 10].count(name) for start in range(0, len(all_), 10)]


@pytest.mark.promise(7)
@SIZES
async def test_one_start_in_ten_is_a_lower_lanes(world: World, limit: int) -> None:
    """7: nine of ten are the highest lane's as long as it has something; *starts*, not pulls."""
    bus = await bus_of(world)
    count = 200 if limit < 64 else 1000
    await bus.publish([*work(count // 5, "l", priority=LOW), *work(count, "h", priority=HIGH)])
    found = await started(world, bus, count, limit)
    assert in_tens(found, LaneName.LOW) == [1] * (count // 10)
    assert in_tens(found, LaneName.HIGH) == [9] * (count // 10)


@pytest.mark.promise(7)
@SIZES
async def test_no_lower_lane_starves(world: World, limit: int) -> None:
    """7: below a lane that is always full, each of the others has its turn."""
    bus = await bus_of(world)
    for name, priority in (("h", HIGH), ("n", NORMAL), ("l", LOW)):
        await bus.publish(work(600, name, priority=priority))
    await bus.publish(work(100, "r", copy=1), group="g")
    found = await started(world, bus, 300, limit)
    counts = Counter(lanes(found))
    assert counts[LaneName.HIGH] == 270
    assert min(counts[name] for name in (LaneName.RETRY, LaneName.NORMAL, LaneName.LOW)) >= 7


@pytest.mark.promise(7)
@SIZES
async def test_the_lane_below_the_full_one_has_the_tenth_start(world: World, limit: int) -> None:
    """7: where the highest lanes are empty the next ones take their places."""
    bus = await bus_of(world)
    await bus.publish([*work(100, "l", priority=LOW), *work(400, "n")])
    found = await started(world, bus, 300, limit)
    assert in_tens(found[100:], LaneName.LOW) == [1] * 20


@pytest.mark.promise(7)
@SIZES
async def test_a_high_one_that_has_waited_starts_before_all_lower_ones(
    world: World, limit: int
) -> None:
    """7: and before what is pulled with it; what comes back starts before new normal ones."""
    bus = await bus_of(world)
    await bus.publish([*work(600, "l", priority=LOW), *work(600, "n")])
    await started(world, bus, 100, limit)
    await bus.publish([envelope("h", priority=HIGH)])
    await bus.publish([envelope("r", copy=1)], group="g")
    await world.pass_time(1.0)
    found = await started(world, bus, 4, limit)
    assert {"h", "r"} <= {delivery.message.id for delivery in found[:3]}


@pytest.mark.long(120)
@pytest.mark.promise(7)
@pytest.mark.parametrize("limit", [1, 7, 500])
@pytest.mark.parametrize("lane", [LaneName.HIGH, LaneName.LOW, LaneName.RETRY])
async def test_a_tenant_with_many_waiting_delays_another_by_a_few_starts(
    world: World, lane: LaneName, limit: int, happened: Callable[[str], None]
) -> None:
    """7: where slices are on, in every lane. Long: behind 100,000."""
    many = form(2000, 100_000)
    bus = await bus_of(world, slices=4)
    fields: dict[str, object] = {"copy": 1} if lane is LaneName.RETRY else {"priority": lane.value}
    if lane is not LaneName.RETRY:
        fields["priority"] = Priority(lane.value)
    group = "g" if lane is LaneName.RETRY else None
    for first in range(0, many, 2000):
        await bus.publish(work(2000, f"a{first}.", tenant=TENANTS[3], **fields), group=group)
    await started(world, bus, 20, limit)
    others = [TENANTS[slice_] for slice_ in (0, 1, 2)]
    await bus.publish([envelope(f"b{t}", tenant=t, **fields) for t in others], group=group)
    await world.pass_time(0.2)
    found = tenants(await started(world, bus, 12, limit))
    last = max((found.index(tenant) for tenant in others if tenant in found), default=0)
    happened(f"{many} of one tenant: three others within {last + 1} starts")
    assert {tenant: tenant in found for tenant in others} == dict.fromkeys(others, True)


@pytest.mark.promise(7)
@pytest.mark.parametrize("limit", [1, 7, 500])
async def test_slices_share_a_lane_evenly(world: World, limit: int) -> None:
    """7: each of those that have something, however little a pull takes."""
    bus = await bus_of(world, slices=4)
    three = [TENANTS[slice_] for slice_ in (0, 2, 3)]
    for tenant in three:
        await bus.publish(work(200, f"{tenant}-", tenant=tenant))
    found = Counter(tenants(await started(world, bus, 150, limit)))
    assert [found[tenant] for tenant in three] == [pytest.approx(50, abs=4)] * 3


@pytest.mark.promise(7)
async def test_of_what_comes_back_only_so_many_are_read_ahead(world: World) -> None:
    """7: as places are expected to come free; they go before new normal tasks nevertheless, and
    as long as more of them wait nothing of the lanes below is read ahead."""
    bus = await bus_of(world)
    await bus.publish(work(300, "n"))
    await bus.publish(work(20, "r", copy=1), group="g")
    await world.pass_time(0.2)
    seen: list[Counter[LaneName]] = []
    for _ in range(4):
        batch = await world.within(SOON, bus.pull("g", free=0, ahead=100, returning=8, wait=0.0))
        await world.within(SOON, bus._backend.settle(batch))
        seen.append(Counter(lanes(batch)))
    assert [counts[LaneName.RETRY] for counts in seen] == [8, 8, 4, 0]
    normal = [counts[LaneName.NORMAL] for counts in seen]
    assert (normal[0], normal[3]) == (92, 100)
    assert max(normal[1:3]) <= 5, "more than was due to a lower lane"


@pytest.mark.promise(7)
def test_tenants_spread_over_all_slices_and_stay_there() -> None:
    """7: by a hash that is the same everywhere; who names no tenant lies in slice 0."""
    found = Counter(slice_of(f"tenant-{number}") for number in range(1600))
    assert set(found) == set(range(SLICES))
    assert max(found.values()) < 200
    assert (slice_of(DEFAULT_TENANT), slice_of("acme"), slice_of("globex")) == (0, 14, 10)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20), st.integers(0, 300))
def test_what_is_shared_out_is_all_there_is_or_all_that_is_wanted(
    waiting: list[int], most: int
) -> None:
    """Nobody gets more than it has; who gets less than another by more than one has no more."""
    given_ = share_out(waiting, most)
    assert sum(given_) == min(most, sum(waiting))
    assert all(got <= has for got, has in zip(given_, waiting, strict=True))
    greatest = max(given_)
    assert all(got == has or got >= greatest - 1 for got, has in zip(given_, waiting, strict=True))


@given(st.integers(0, 100), st.integers(1, 30))
def test_even_parts_differ_by_one_at_most(most: int, count: int) -> None:
    parts = even(most, count)
    assert sum(parts) == most
    assert len(parts) == count
    assert max(parts) - min(parts) <= 1


def a_delivery(number: int, lane: Lane) -> Delivery:
    """One that nobody pulled."""
    return Delivery(Message(str(number), 0, "work.a", b"{}", lane=lane), "g", 0, None)


@given(st.lists(st.tuples(st.sampled_from(LaneName), st.integers(0, 3)), max_size=60))
def test_a_line_loses_nothing_and_starts_each_once(wanted: list[tuple[LaneName, int]]) -> None:
    """Whatever the lanes; within one slice of one lane in the order they came."""
    line = Line()
    waiting = [a_delivery(n, Lane(name, slice_)) for n, (name, slice_) in enumerate(wanted)]
    line.extend(waiting)
    assert len(line) == len(list(line)) == len(waiting)
    popped = [line.pop() for _ in waiting]
    assert set(popped) == set(waiting)
    assert not line
    for lane in {d.message.lane for d in waiting}:
        numbers = [int(d.message.id) for d in popped if d.message.lane == lane]
        assert numbers == sorted(numbers)


def test_what_is_removed_from_a_line_does_not_start() -> None:
    line = Line()
    first, second = (a_delivery(n, Lane(LaneName.LOW, n)) for n in range(2))
    line.extend([first, second])
    assert line.remove(first)
    assert not line.remove(first)
    assert not line.remove(replace(second))
    assert (line.count(LaneName.LOW), line.pop()) == (1, second)
    line.append(first)
    assert (line.clear(), len(line)) == ([first], 0)
