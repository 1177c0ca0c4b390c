"""One key on both buses is one message; the database beside them says so."""

import asyncio

import pytest

from bus.backend import Backend, Delivery
from bus.backends.failover import backend as failover
from bus.backends.failover import hand_overs, pull
from bus.backends.failover.hand_overs import HandOvers, Mark
from bus.backends.failover.opening import Half, open_parts
from bus.database.database import BusDatabase
from bus.errors import Conflict, DatabaseUnreachable, Unsafe
from bus.opening import Parts, Terms
from contracts.clock import SystemClock
from tests.bus.conformance.broker_world import BrokerWorld
from tests.bus.conformance.steps import (
    ORDER,
    SOON,
    bound,
    eventually,
    ids,
    nothing,
    persist,
    take,
    task,
    tasks,
    total,
)
from tests.bus.failover.sides import alone
from tests.pairs import Pair


async def test_what_lies_on_both_buses_is_handed_out_once(world: BrokerWorld, pair: Pair) -> None:
    """As after a publish of unknown outcome: whichever comes first. The other one is dropped."""
    backend, other = await bound(world), await world.backend()
    async with alone(world, pair.first) as first, alone(world, pair.second) as second:
        await first.publish(tasks(20))
        await second.publish(tasks(20))
        found = await take(world, backend, 10)
        rest = await take(world, other, 10)
        assert ids([*found, *rest]) == sorted(message.id for message in tasks(20))
        assert all(delivery.earlier == 0 for delivery in [*found, *rest])
        assert await backend.settle(found) == []
        assert await other.settle(rest) == []
        await nothing(world, backend, seconds=world.lease + 0.5)

        async def empty() -> bool:
            lags = [await bus.lag("g") for bus in (first, second)]
            return all(total(lag, "waiting") == 0 for lag in lags)

        await eventually(world, SOON, empty)


async def test_what_waits_on_the_second_bus_keeps_its_group(world: BrokerWorld, pair: Pair) -> None:
    """22: `unbind` without `drop` is refused; after it both buses have forgotten the group."""
    backend = await bound(world)
    async with alone(world, pair.second) as second:
        await second.publish([task("a")])
        with pytest.raises(Conflict):
            await backend.unbind("g")
        assert ids(await take(world, backend, 1)) == ["a"]
        await backend.unbind("g", drop=True)
        await backend.bind("g", ["work.#"])
        await second.publish([task("a", copy=1, group="g")])
    assert ids(await take(world, backend, 1)) == ["a"]


@pytest.mark.parametrize("how", ["killed", "hangs"])
async def test_without_the_database_publishing_goes_on_and_nothing_new_starts(
    world: BrokerWorld, pair: Pair, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """No bus is taken for one that is away, also none that leans on the database: what that cannot
    take goes to the other. What is running is settled where its bus can do so alone; what was
    accepted meanwhile is handed out afterwards."""
    away, back = (
        (pair.store.kill, pair.store.start)
        if how == "killed"
        else (pair.store.freeze, pair.store.thaw)
    )
    backend, leans = await bound(world), pair.first.database is not None
    await backend.publish([task("a")])
    held = await take(world, backend, 1)
    await asyncio.to_thread(away)
    try:
        await world.within(SOON + 5.0, backend.publish([task("b")]))
        if not leans:
            assert await backend.settle(held) == []
        with pytest.raises(DatabaseUnreachable):
            await world.within(SOON + 5.0, _pulled(backend))
        with pytest.raises(DatabaseUnreachable):
            await world.within(SOON + 5.0, backend.extend(()))
    finally:
        await asyncio.to_thread(back)
    due = ["a", "b"] if leans else ["b"]
    found: list[Delivery] = []
    while len(found) < len(
        due
    ):  # each is settled at once: one may come when another's lease is over
        one = await persist(world, lambda: take(world, backend, 1, seconds=20.0))
        assert await backend.settle(one) == []
        found += one
    assert ids(found) == due
    assert not [told for told in caplog.messages if "is away" in told]


async def test_a_short_pull_does_not_wait_for_a_long_one_before_it(
    world: BrokerWorld, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """6: also when that one still goes on at the second bus, and the first is away."""
    monkeypatch.setattr(pull, "GRACE", 60.0)
    backend = await bound(world)
    waiting = asyncio.create_task(backend.pull("g", ORDER, limit=1, wait=60.0))
    async with alone(world, pair.first) as first:
        await first.publish([task("a")])
    async with asyncio.timeout(SOON):
        assert ids(await waiting) == ["a"]
    await asyncio.to_thread(pair.first.kill)
    assert await world.within(SOON + 5.0, backend.pull("g", ORDER, limit=1, wait=0.1)) == []


async def _pulled(backend: Backend) -> None:
    while True:
        await backend.pull("g", ORDER, limit=1, wait=0.5)


async def test_a_hand_over_is_forgotten_when_no_repetition_can_come(pair: Pair) -> None:
    """Not before the other bus was seen empty two minutes after it was done."""
    database = await BusDatabase.open(pair.database or "", fleet="forgetting")
    rows = HandOvers(database, 1.5)
    assert await rows.claim("g", 1, ["k"]) == {"k": 1}
    mark = Mark("g", "k", 1, 1)
    assert await rows.done([mark], sure=True) == {mark.name}
    now = await rows.now()
    await rows.forget("g", 1, now + 100.0)
    assert await rows.claim("g", 2, ["k"]) == {}, "a repetition may come"
    await rows.forget("g", 2, now + 1000.0)
    assert await rows.claim("g", 2, ["k"]) == {}, "of another bus"
    await rows.forget("g", 1, now + 121.0)
    assert await rows.claim("g", 2, ["k"]) == {"k": 1}
    database.close()
    await asyncio.sleep(0)


async def test_what_is_done_is_forgotten_when_the_other_bus_was_seen_empty(
    world: BrokerWorld, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as anything lies there, it may be the same message."""
    monkeypatch.setattr(failover, "FORGET_EVERY", 0.1)
    monkeypatch.setattr(hand_overs, "WINDOW", 0.2)
    backend = await bound(world)
    database = await BusDatabase.open(pair.database or "", fleet=world.fleet)
    await backend.publish([task("a")])
    assert await backend.settle(await take(world, backend, 1)) == []
    async with alone(world, pair.second) as second:
        await second.publish([task("b")])

    async def kept() -> list[str]:
        rows = await database.fetch("SELECT key FROM hand_overs WHERE fleet = $1", database.fleet)
        return [row["key"] for row in rows]

    await world.pass_time(1.0)
    assert len(await kept()) == 1
    assert await backend.settle(await take(world, backend, 1)) == []

    async def forgotten() -> bool:
        return await kept() == []

    await eventually(world, SOON, forgotten)
    database.close()
    await asyncio.sleep(0)


async def test_what_nobody_saw_does_not_count(pair: Pair) -> None:
    """And what its holder keeps is nobody else's for that long."""
    database = await BusDatabase.open(pair.database or "", fleet="counting")
    rows = HandOvers(database, 1.5)
    await rows.claim("g", 1, ["k"])
    await rows.back([Mark("g", "k", 1, 1)])
    assert await rows.claim("g", 1, ["k"]) == {"k": 1}
    mark = Mark("g", "k", 1, 1)
    assert await rows.keep([mark], away=False) == set(), "its bus holds the lease"
    assert await rows.keep([mark], away=True) == {mark.name}
    assert await rows.keep([mark], away=False) == {mark.name}
    assert await rows.claim("g", 1, ["k"]) == {}
    assert await rows.kept("g", 1, ["k", "other"]) == {"k"}
    await asyncio.sleep(1.6)
    assert await rows.claim("g", 1, ["k"]) == {"k": 2}
    assert await rows.keep([mark], away=True) == set()
    assert await rows.done([mark], sure=False) == set()
    database.close()
    await asyncio.sleep(0)


async def test_a_fleet_with_two_buses_needs_a_database(pair: Pair) -> None:
    """It says which setting is missing."""

    async def never(_terms: Terms) -> Parts:
        raise AssertionError

    terms = Terms(url=pair.url, fallback=pair.fallback, fleet="f", clock=SystemClock())
    halves = [Half(url, never, leans=False) for url in (pair.url, pair.fallback)]
    with pytest.raises(Unsafe, match="database"):
        await open_parts(terms, halves)
