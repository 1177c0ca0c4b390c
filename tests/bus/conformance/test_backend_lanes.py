"""Promise 7, the backend's part: lanes and slices are kept apart and served as asked for."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from bus.backend import HIGH, LOW, NORMAL, RETRY, SLICES, Backend, Delivery, Lane, LaneName, Turn
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import SOON, bound, eventually, ids, take, task, total


async def filled(world: World, slices: int, each: int = 3) -> Backend:
    """A connection to a fleet cut so, and `each` messages in every slice of every lane."""
    world.cut(slices)
    backend = await bound(world)
    sent = [
        replace(
            task(f"{name.value}-{number}-{k}", copy=copy, group="g" if copy else None),
            lane=Lane(name, number),
        )
        for name in LaneName
        for copy in [int(name is RETRY.name)]
        for number in range(slices)
        for k in range(each)
    ]
    await backend.publish(sent)

    async def all_wait() -> bool:
        return total(await backend.lag("g"), "waiting") == len(sent)

    await eventually(world, 2.0, all_wait)
    return backend


def places(found: Sequence[Delivery]) -> list[Lane]:
    """Where each of them lay."""
    return [delivery.message.lane for delivery in found]


@pytest.mark.promise(7)
async def test_slices_are_pulled_in_the_order_given(world: World) -> None:
    """7: each slice of a lane is a lane of its own; those not asked for keep what they have."""
    backend = await filled(world, 4)
    order = [Lane(NORMAL.name, 2), Lane(HIGH.name, 3), Lane(RETRY.name, 1), Lane(LOW.name, 0)]
    found = await take(world, backend, 12, lanes=order)
    assert places(found) == [lane for lane in order for _ in range(3)]
    assert await world.within(SOON, backend.pull("g", order, limit=5, wait=0.2)) == []


@pytest.mark.promise(7)
async def test_the_lanes_of_a_turn_share_it_evenly(world: World) -> None:
    """7: what one does not use goes to the others, never more than the turn has."""
    backend = await filled(world, 4)
    turn = Turn(tuple(Lane(NORMAL.name, number) for number in range(4)), 8)
    found = await world.within(SOON, backend.pull("g", [turn], limit=20, wait=1.0))
    assert Counter(places(found)) == dict.fromkeys(turn.lanes, 2)
    left = await world.within(SOON, backend.pull("g", [turn], limit=20, wait=1.0))
    assert Counter(places(left)) == dict.fromkeys(turn.lanes, 1)
    both = Turn((NORMAL, Lane(LOW.name, 1)), 5)
    rest = await world.within(SOON, backend.pull("g", [both], limit=20, wait=1.0))
    assert places(rest) == [Lane(LOW.name, 1)] * 3


@pytest.mark.promise(7)
async def test_turns_come_one_after_the_other_and_a_lane_may_have_several(world: World) -> None:
    """7: all within the limit of the pull."""
    backend = await filled(world, 1, each=10)
    turns = [Turn((LOW,), 2), Turn((HIGH, RETRY), 6), Turn((LOW,), 20)]
    found = await world.within(SOON, backend.pull("g", turns, limit=12, wait=1.0))
    assert places(found) == [LOW] * 2 + [HIGH] * 3 + [RETRY] * 3 + [LOW] * 4
    rest = await world.within(SOON, backend.pull("g", [Turn((LOW,), 1), HIGH], limit=4, wait=1.0))
    assert places(rest) == [LOW] + [HIGH] * 3


@pytest.mark.promise(7)
async def test_every_tenants_slice_lies_in_one_of_the_lanes(world: World) -> None:
    """7: slice k in the lane k modulo their number, in each of the four lanes."""
    world.cut(3)
    backend = await bound(world)
    for name in LaneName:
        copy, group = (1, "g") if name is RETRY.name else (0, None)
        sent = [
            replace(task(f"{name}{k}", copy=copy, group=group), lane=Lane(name, k))
            for k in range(SLICES)
        ]
        await backend.publish(sent)
        for number in range(3):
            wanted = sorted(f"{name}{k}" for k in range(number, SLICES, 3))
            found = await take(world, backend, len(wanted), lanes=[Lane(name, number)])
            assert ids(found) == wanted


@pytest.mark.promise(7)
async def test_what_waits_for_its_time_keeps_its_slice(world: World) -> None:
    """7: in the retry lane, as what is published again; also when it is routed by topic."""
    world.cut(4)
    backend = await bound(world)
    soon = world.clock.wall() + 0.3
    sent = [replace(task(f"t{k}", due=soon), lane=Lane(LOW.name, k)) for k in range(4)]
    await backend.publish(sent)
    lag = await backend.lag("g")
    assert [lag[Lane(RETRY.name, k)].delayed for k in range(4)] == [1, 1, 1, 1]
    for k in (3, 0, 2, 1):
        found = await take(world, backend, 1, lanes=[Lane(RETRY.name, k)])
        assert (ids(found), places(found)) == ([f"t{k}"], [Lane(RETRY.name, k)])


@pytest.mark.promise(7, 18)
async def test_lag_tells_the_slices_apart(world: World) -> None:
    """18: what waits, is leased or delayed in each."""
    backend = await filled(world, 2)
    await take(world, backend, 2, lanes=[Lane(LOW.name, 1)])
    await backend.publish(
        [replace(task("later", due=world.clock.wall() + 60), lane=Lane(HIGH.name, 1))]
    )
    lag = await backend.lag("g")
    assert set(lag) == {Lane(name, number) for name in LaneName for number in range(2)}
    assert [(lag[Lane(LOW.name, k)].waiting, lag[Lane(LOW.name, k)].leased) for k in (0, 1)] == [
        (3, 0),
        (1, 2),
    ]
    assert [lag[Lane(RETRY.name, k)].delayed for k in (0, 1)] == [0, 1]
