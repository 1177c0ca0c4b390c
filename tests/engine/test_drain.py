"""Promise 20: a graceful stop finishes or hands back what it holds; nothing waits for a lease."""

import asyncio
from typing import Any

import pytest

from bus.backends.memory import MemoryBackend
from bus.errors import Unreachable
from contracts.envelope import decode
from tests.bus.rooms import delivery, envelope
from tests.engine.fleets import LEASE, LiveFleet, ManualFleet, made
from tests.engine.test_leases import Gate, gated
from workers.sdk.context import Context


@pytest.mark.promise(20)
async def test_what_runs_is_finished(fleet: ManualFleet) -> None:
    gate = Gate()
    member = await fleet.start(gated(gate), drain=30.0)
    task = await fleet.client.publish("work.a", None)
    await fleet.until(lambda: gate.runs == 1)
    member.worker.stop()
    await fleet.clock.advance(1.0)
    assert not member.running.done()
    gate.open.set()
    await fleet.stopped(member)
    assert await fleet.within(task.result()) == 1


@pytest.mark.promise(20)
async def test_what_has_not_started_is_handed_back_at_once_without_an_attempt(
    fleet: ManualFleet,
) -> None:
    """Before the running ones are finished."""
    gate = Gate()
    member = await fleet.start(gated(gate, concurrency=1), drain=30.0)
    await fleet.client.publish("work.a", None)
    await fleet.until(lambda: gate.runs == 1)
    await fleet.client.publish("work.a", "waiting")
    for found in await fleet.deliveries():
        fresh = await _mine(member, found)
        member.keeper.hold(fresh)
        member.worker._queue.append(fresh)
    member.worker.stop()
    await fleet.clock.advance(0.1)
    (back,) = await fleet.deliveries()
    task = decode(back.message.headers, back.message.body)
    assert (task.body, task.attempt, task.copy) == (b'"waiting"', 0, 1)
    assert not member.running.done()
    gate.open.set()
    await fleet.stopped(member)
    assert gate.runs == 1


async def _mine(member: Any, found: Any) -> Any:
    """In memory a delivery may be settled through any connection."""
    assert isinstance(member.backend, MemoryBackend)
    return found


@pytest.mark.promise(20)
async def test_a_run_that_does_not_end_in_time_is_cut_and_handed_back(
    fleet: ManualFleet,
) -> None:
    """No attempt is used, and nothing waits for the lease."""
    gate = Gate()
    member = await fleet.start(gated(gate), drain=0.05)
    await fleet.client.publish("work.a", None)
    await fleet.until(lambda: gate.runs == 1)
    before = fleet.clock.wall()
    member.worker.stop()
    await asyncio.wait_for(member.running, 5.0)
    assert (gate.cancelled, gate.contexts[0].cancelled) == (1, True)
    (back,) = await fleet.deliveries()
    task = decode(back.message.headers, back.message.body)
    assert (task.attempt, task.copy) == (0, 1)
    assert fleet.clock.wall() - before < LEASE


@pytest.mark.promise(20)
async def test_a_run_cut_before_its_first_step_is_handed_back(fleet: ManualFleet) -> None:
    gate = Gate()
    member = await fleet.start(gated(gate), drain=0.0)
    start = member.worker._start

    def start_and_cut() -> None:
        start()
        for run in member.worker._runs.values():
            run.returned = True
            run.cancel()
            member.worker.stop()

    member.worker._start = start_and_cut  # type: ignore[method-assign]
    await fleet.client.publish("work.a", None)
    await asyncio.wait_for(member.running, 5.0)
    assert gate.runs == 0
    assert len(await fleet.deliveries()) == 1


@pytest.mark.promise(20)
async def test_nothing_is_pulled_any_more(fleet: ManualFleet) -> None:
    gate = Gate()
    member = await fleet.start(gated(gate), drain=30.0)
    await fleet.client.publish("work.a", None)
    await fleet.until(lambda: gate.runs == 1)
    member.worker.stop()
    await fleet.clock.advance(0.1)
    await fleet.client.publish_many([("work.a", n) for n in range(5)])
    await fleet.clock.advance(5.0)
    assert gate.runs == 1
    assert len(await fleet.deliveries()) == 5
    gate.open.set()
    await fleet.stopped(member)


@pytest.mark.promise(20)
async def test_stopping_at_any_moment_loses_nothing_and_leaves_nothing_leased(
    fleet: ManualFleet,
) -> None:
    """Also in the middle of pulling, with reading ahead."""
    done: list[int] = []

    async def handler(payload: int, ctx: Context) -> None:
        await asyncio.sleep(0)
        done.append(payload)

    tasks = await _published(fleet, 400)
    for turns in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55):
        member = await fleet.start(made(handler, concurrency=4), drain=5.0)
        for _ in range(turns):
            await asyncio.sleep(0)
        member.worker.stop()
        await asyncio.wait_for(member.running, 10.0)
        lag = await fleet.bus.lag("worker")
        assert sum(lane.leased for lane in lag.values()) == 0  # type: ignore[attr-defined]
    last = await fleet.start(made(handler, concurrency=50))
    for task in tasks:
        await fleet.within(task.outcome())
    assert sorted(done) == list(range(400))
    assert last.worker.counts.lost == 0


async def _published(fleet: ManualFleet, count: int) -> list[Any]:
    await fleet.bus.bind("worker", ["work.#"])
    return await fleet.client.publish_many([("work.a", n) for n in range(count)])


@pytest.mark.promise(20)
async def test_a_pull_that_is_cut_after_its_first_part_gives_that_part_back(
    fleet: ManualFleet,
) -> None:
    """Reading ahead is a question of its own, asked when the first answer is already held."""
    gate = Gate()
    gate.open.set()
    member = await fleet.start(gated(gate, concurrency=2), drain=0.05)
    first = await fleet.client.publish("work.a", None)
    await fleet.within(first.outcome())
    gate.open.clear()
    pull, asked = member.backend.pull, asyncio.Event()

    async def slow_ahead(group: str, lanes: Any, *, limit: int, wait: float) -> Any:
        if wait == 0.0:
            asked.set()
            await asyncio.Event().wait()
        return await pull(group, lanes, limit=limit, wait=wait)

    member.backend.pull = slow_ahead  # type: ignore[method-assign]
    await fleet.client.publish_many([("work.a", n) for n in range(10)])
    await fleet.within(asked.wait())
    member.worker.stop()
    await asyncio.wait_for(member.running, 5.0)
    lag = await fleet.bus.lag("worker")
    assert sum(lane.leased for lane in lag.values()) == 0  # type: ignore[attr-defined]
    assert len(await fleet.deliveries()) == 10


@pytest.mark.promise(12)
async def test_what_cannot_be_handed_back_comes_back_by_its_lease(fleet: ManualFleet) -> None:
    """A stop while the broker is away ends all the same."""
    gate = Gate()
    member = await fleet.start(gated(gate), drain=0.05)
    await fleet.client.publish("work.a", None)
    await fleet.until(lambda: gate.runs == 1)
    fleet.broker.outage()
    member.worker.stop()
    for _ in range(2000):
        await fleet.clock.advance(0.05)
        if member.running.done():
            break
    member.running.result()
    fleet.broker.restore()
    await fleet.clock.advance(LEASE + 1.0)
    assert len(await fleet.deliveries()) == 1


@pytest.mark.promise(20)
async def test_a_host_drains_all_its_roles_when_one_of_them_fails() -> None:
    """The error is raised when all have ended."""
    fleet = LiveFleet(lease=5.0)
    gate = Gate()
    gate.open.set()

    async def other(payload: Any, ctx: Context) -> None:
        return

    failed = asyncio.Event()

    async def broken(*_: Any, **__: Any) -> Any:
        failed.set()
        raise ValueError("a bug")

    async def scenario() -> None:
        async with fleet.running(gated(gate, name="one"), made(other, name="two")) as host:
            for name in ("one", "two"):
                host.worker(name)._pull = broken  # type: ignore[method-assign]
            await fleet.client.publish("work.a", None)
            await failed.wait()

    with pytest.raises(ValueError, match="a bug"):
        await asyncio.wait_for(scenario(), 10.0)


async def test_a_role_that_was_unbound_binds_itself_again(fleet: ManualFleet) -> None:
    """Also when the broker goes away at that moment."""
    gate = Gate()
    gate.open.set()
    member = await fleet.start(gated(gate))
    bind, fails = member.backend.bind, [Unreachable("cut"), Unreachable("cut")]

    async def sometimes(group: str, patterns: Any) -> None:
        if fails:
            raise fails.pop()
        await bind(group, patterns)

    member.backend.bind = sometimes  # type: ignore[method-assign]
    await fleet.bus.unbind("worker", drop=True)
    await fleet.clock.advance(30.0)
    task = await fleet.client.publish("work.a", None)
    assert await fleet.within(task.result()) == 1


@pytest.mark.promise(16)
async def test_a_worker_outlives_an_outage_of_the_broker(fleet: ManualFleet) -> None:
    gate = Gate()
    gate.open.set()
    await fleet.start(gated(gate))
    fleet.broker.outage()
    await fleet.clock.advance(60.0)
    fleet.broker.restore()
    task = await fleet.client.publish("work.a", None)
    assert await fleet.within(task.result(), 5.0) == 1


@pytest.mark.promise(15)
async def test_a_delivery_that_is_lost_during_the_drain_is_not_counted_as_done(
    fleet: ManualFleet,
) -> None:
    gate = Gate()
    member = await fleet.start(gated(gate))
    gone = delivery(envelope("gone"), group="worker")
    member.worker.lose(gone)
    assert member.worker.counts.lost == 0
