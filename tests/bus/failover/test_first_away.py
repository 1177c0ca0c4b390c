"""The first bus is killed, hangs, or was never there; then it comes back."""

import asyncio
from collections.abc import Callable

import pytest

from bus.backends import choice
from bus.errors import Unreachable
from bus.opening import Terms
from contracts.clock import SystemClock
from tests.bus.conformance.broker_world import BrokerWorld
from tests.bus.conformance.steps import (
    ORDER,
    SOON,
    bound,
    eventually,
    ids,
    nothing,
    take,
    task,
    total,
)
from tests.bus.failover.sides import Load, alone, route
from tests.pairs import Pair

DELAY = 8.0
"""Seconds a publisher may be held up, on a busy machine: the first call that is not answered, once
for a bus that goes away and once more for a call that was under way when it came back."""


@pytest.mark.parametrize("how", ["killed", "hangs"])
async def test_a_publisher_sees_a_delay_and_every_task_runs_once(
    world: BrokerWorld, pair: Pair, happened: Callable[[str], None], how: str
) -> None:
    """Nothing that was accepted is lost or done twice, while the first bus goes and when it has
    come back; then it is used again."""
    await bound(world)
    load = Load(world, await world.backend(), await world.backend())
    away, back = (
        (pair.first.kill, pair.first.start)
        if how == "killed"
        else (
            pair.first.freeze,
            pair.first.thaw,
        )
    )
    async with load.running():
        await load.some_more(100)
        await asyncio.to_thread(away)
        await load.some_more(100)
        await asyncio.to_thread(back)
        await load.some_more(100)
        async with alone(world, pair.second) as second:

            async def only_the_first_has_news() -> bool:
                async with alone(world, pair.first):
                    before = len(load.accepted)
                    await load.some_more(20)
                    lag = await second.lag("g")
                    return before > 0 and total(lag, "waiting") == 0

            await eventually(world, 15.0, only_the_first_has_news)
    twice = [name for name, count in load.done.items() if count > 1]
    assert twice == []
    again = sum(count > 1 for count in load.started.values())
    happened(
        f"{how}: {len(load.accepted)} accepted, the longest publish took {load.longest:.1f} s, "
        f"{again} were started again"
    )
    assert load.longest < DELAY


async def test_what_is_published_goes_to_the_first_bus_again(
    world: BrokerWorld, pair: Pair
) -> None:
    """After a trial that is answered; and what is in use can be seen, with its beginning."""
    publisher = await world.backend()
    await publisher.bind("g", ["work.#"])
    parts = world.opened[-1]
    assert not (await route(parts)).fallback
    began = world.clock.wall()
    await asyncio.to_thread(pair.first.kill)
    await publisher.publish([task("a")])
    found = await route(parts)
    assert found.fallback
    assert found.away != ()
    assert found.since is not None
    assert began <= found.since <= world.clock.wall()
    await asyncio.to_thread(pair.first.start)

    async def back() -> bool:
        return not (await route(parts)).fallback

    await eventually(world, SOON + 10.0, back)
    await publisher.publish([task("b")])
    async with alone(world, pair.first) as first:
        assert ids(await take(world, first, 1)) == ["b"]
    async with alone(world, pair.second) as second:
        assert ids(await take(world, second, 1)) == ["a"]


async def test_a_run_goes_on_while_its_bus_is_away_and_ends(world: BrokerWorld, pair: Pair) -> None:
    """Its lease is kept elsewhere; what follows from it is accepted elsewhere, once a pull has
    missed the bus; and its bus, when it is back, hands it to nobody."""
    backend, rival = await bound(world), await world.backend()
    await backend.publish([task("a"), task("b")])
    held = await take(world, backend, 2)
    await asyncio.to_thread(pair.first.kill)
    end = world.clock.monotonic() + 2.5 * world.lease
    while world.clock.monotonic() < end:
        assert await backend.extend(held) == []
        assert await backend.pull("g", ORDER, limit=1, wait=world.lease / 4) == []
    first, second = sorted(held, key=lambda d: d.message.id)
    assert await backend.settle([first], then=[task("a", copy=1, group="g")]) == []
    assert await backend.settle([first]) == [first]
    after = await take(world, rival, 1)
    assert (ids(after), after[0].message.copy) == (["a"], 1)
    assert await rival.settle(after) == []
    await asyncio.to_thread(pair.first.start)
    end = world.clock.monotonic() + 2.0 * world.lease
    while world.clock.monotonic() < end:
        assert await backend.extend([second]) == []
        pull = rival.pull("g", (second.message.lane,), limit=5, wait=world.lease / 4)
        assert ids(await pull) == []
    assert await backend.settle([second]) == []
    await nothing(world, rival, seconds=world.lease + 0.5)


async def test_what_its_holder_let_go_while_its_bus_was_away_comes_again(
    world: BrokerWorld, pair: Pair
) -> None:
    """Counted, once the bus is back; the old holder cannot touch it."""
    backend, rival = await bound(world), await world.backend()
    await backend.publish([task("a")])
    (held,) = await take(world, backend, 1)
    await asyncio.to_thread(pair.first.kill)
    assert await backend.extend([held]) == []
    await asyncio.to_thread(pair.first.start)
    (again,) = await take(world, rival, 1, seconds=3 * world.lease + SOON + 10.0)
    assert (again.message.id, again.earlier) == ("a", 1)
    assert await backend.extend([held]) == [held]
    assert await backend.settle([held], then=[task("x", group="g")]) == [held]
    assert await rival.settle([again]) == []
    await nothing(world, rival)


async def test_a_fleet_starts_while_one_bus_is_away(world: BrokerWorld, pair: Pair) -> None:
    """With the groups that both buses know; and uses the other one when it comes."""
    await bound(world)
    await asyncio.to_thread(pair.first.kill)
    backend = await world.backend()
    await backend.bind("g", ["work.#"])
    await backend.publish([task("a")])
    found = await take(world, backend, 1)
    assert ids(found) == ["a"]
    assert await backend.settle(found) == []
    for group, patterns in (("new", ["work.#"]), ("g", ["other.#"])):
        with pytest.raises(Unreachable):
            await backend.bind(group, patterns)
    await asyncio.to_thread(pair.first.start)

    async def binds() -> bool:
        try:
            await backend.bind("new", ["work.#"])
        except Unreachable:
            return False
        return True

    await eventually(world, SOON + 10.0, binds)
    await backend.publish([task("b")])
    for group in ("g", "new"):
        assert ids(await take(world, backend, 1, group=group)) == ["b"]


async def test_both_away_is_unreachable_and_one_back_is_enough(
    world: BrokerWorld, pair: Pair
) -> None:
    """Whichever comes back first; a fleet cannot start without either."""
    backend = await bound(world)
    await asyncio.to_thread(pair.kill)
    with pytest.raises(Unreachable) as caught:
        await backend.publish([task("a")])
    assert str(pair.first.url.rpartition(":")[2].strip("/")) in caught.value.details
    terms = Terms(
        url=pair.url,
        fallback=pair.fallback,
        fleet=world.fleet,
        clock=SystemClock(),
        lease=world.lease,
        database=pair.database,
    )
    with pytest.raises(Unreachable):
        await choice.open_parts(terms)
    await asyncio.to_thread(pair.second.start)

    async def accepted() -> bool:
        try:
            await backend.publish([task("a")])
        except Unreachable:
            return False
        return True

    await eventually(world, SOON + 10.0, accepted)
    assert ids(await take(world, backend, 1)) == ["a"]
    await asyncio.to_thread(pair.first.start)
