"""Paused roles: nothing starts, what runs goes on, and nothing waits for the end of a pause."""

import asyncio
from dataclasses import asdict
from typing import Any

import pytest
from pydantic_core import to_json

from bus.errors import Conflict, Unroutable
from bus.keyvalue import keys
from bus.stops import Kind
from contracts.envelope import decode
from contracts.errors import InvalidValue
from contracts.results import Status
from tests.bus.rooms import letter
from tests.engine.fleets import LEASE, ManualFleet, made
from tests.engine.test_leases import Gate, gated
from workers.fleet.errors import RoleInUse
from workers.fleet.presence import Alive
from workers.sdk.context import Context
from workers.sdk.errors import UnknownRole


async def test_a_paused_role_starts_nothing_and_finishes_what_runs(fleet: ManualFleet) -> None:
    """Publishing goes on; other roles do; after a resume everything runs."""
    gate = Gate()

    async def quick(payload: Any, ctx: Context) -> str:
        return "done"

    await fleet.start(gated(gate, concurrency=5))
    await fleet.start(made(quick, "other", listens="other.#"))
    running = await fleet.client.publish("work.a", None)
    await fleet.until(lambda: gate.runs == 1)
    await fleet.client.pause("worker", reason="to look at it")
    await fleet.clock.advance(1.0)
    waiting = [await fleet.client.publish("work.a", None) for _ in range(3)]
    assert await fleet.within((await fleet.client.publish("other.a", None)).result()) == "done"
    await fleet.clock.advance(5 * LEASE)
    assert (gate.runs, gate.cancelled) == (1, 0)
    gate.open.set()
    assert (await fleet.within(running.outcome())).status is Status.SUCCEEDED
    await fleet.clock.advance(5 * LEASE)
    assert gate.runs == 1
    assert list(await fleet.bus.stops.paused()) == ["worker"]
    assert await fleet.client.resume("worker")
    for task in waiting:
        assert (await fleet.within(task.outcome())).status is Status.SUCCEEDED
    assert gate.runs == 4
    assert not await fleet.client.resume("worker")


async def test_what_has_not_started_is_handed_back_at_once(fleet: ManualFleet) -> None:
    """Without an attempt, while what runs goes on."""
    gate = Gate()
    member = await fleet.start(gated(gate, concurrency=1))
    await fleet.client.publish("work.a", None)
    await fleet.until(lambda: gate.runs == 1)
    await fleet.client.publish("work.a", "waiting")
    for held in await fleet.deliveries():
        member.keeper.hold(held)
        member.worker._queue.append(held)
    await fleet.client.pause("worker")
    await fleet.clock.advance(1.0)
    (back,) = await fleet.deliveries()
    task = decode(back.message.headers, back.message.body)
    assert (task.body, task.attempt, task.copy) == (b'"waiting"', 0, 1)
    assert (member.worker.running, gate.runs, gate.cancelled) == (1, 1, 0)


async def test_a_worker_of_a_paused_role_starts_paused(fleet: ManualFleet) -> None:
    """It binds its role: what is published is kept for it."""
    gate = Gate()
    gate.open.set()
    await fleet.bus.stops.put(Kind.PAUSE, "worker")
    await fleet.start(gated(gate))
    task = await fleet.client.publish("work.a", None)
    await fleet.clock.advance(5 * LEASE)
    assert gate.runs == 0
    await fleet.client.resume("worker")
    assert (await fleet.within(task.outcome())).value == 1


async def test_pausing_and_resuming_by_turns_loses_nothing(fleet: ManualFleet) -> None:
    runs: set[int] = set()

    async def handler(payload: int, ctx: Context) -> None:
        runs.add(payload)
        await fleet.clock.sleep(0.05)

    member = await fleet.start(made(handler, concurrency=2))
    tasks = []
    for number in range(40):
        tasks.append(await fleet.client.publish("work.a", number))
        if number % 8 == 3:
            await fleet.client.pause("worker")
        if number % 8 == 7:
            await fleet.clock.advance(0.2)
            await fleet.client.resume("worker")
    for task in tasks:
        end = await fleet.within(task.outcome())
        assert (end.status, end.attempt) == (Status.SUCCEEDED, 1)
    assert runs == set(range(40))
    assert member.worker.counts.lost == 0


async def test_a_paused_worker_can_be_stopped(fleet: ManualFleet) -> None:
    member = await fleet.start(gated(Gate()))
    await fleet.client.pause("worker")
    await fleet.clock.advance(1.0)
    await fleet.stopped(member)


async def test_a_purge_tells_how_many_waited_and_stops_them(fleet: ManualFleet) -> None:
    """Those put off included; dead letters stay."""
    gate = Gate()

    async def dies(payload: Any, ctx: Context) -> Any:
        if payload == "die":
            raise ValueError("no")
        return await gate(ctx)

    member = await fleet.start(made(dies, concurrency=1, attempts=1))
    await fleet.client.publish("work.a", "die")
    await fleet.until(lambda: member.worker.counts.failed == 1)
    tasks = [await fleet.client.publish("work.a", None)]
    await fleet.until(lambda: gate.runs == 1)
    tasks += [await fleet.client.publish("work.a", None) for _ in range(3)]
    tasks.append(await fleet.client.publish("work.a", None, delay=30.0))
    assert await fleet.client.purge("worker", reason="wrong input") == 4
    for task in tasks:
        assert (await fleet.within(task.outcome())).status is Status.CANCELLED
    assert gate.runs == 1
    assert len(await fleet.dead()) == 1


async def test_a_role_nobody_knows_is_refused_with_the_nearest(fleet: ManualFleet) -> None:
    await fleet.start(gated(Gate()))
    client = fleet.client
    for refused in (client.pause, client.resume, client.purge):
        with pytest.raises(UnknownRole, match="there is no role 'wroker'"):
            await refused("wroker")
    with pytest.raises(UnknownRole):
        await client.cancel(role="wroker")
    for wrong in ({}, {"role": "worker", "tenant": "acme"}, {"every": True, "subject": "ada"}):
        with pytest.raises(InvalidValue):
            await client.cancel(**wrong)
    with pytest.raises(InvalidValue):
        await client.cancel("id", role="worker")
    with pytest.raises(InvalidValue):
        await client.cancel("")
    assert await fleet.bus.store.list("stop/") == []


async def test_many_ids_are_cancelled_in_one_call(fleet: ManualFleet) -> None:
    await fleet.bus.bind("worker", ["work.#"])
    tasks = [await fleet.client.publish("work.a", None) for _ in range(20)]
    await fleet.client.cancel(*(task.id for task in tasks))
    await fleet.start(gated(Gate()))
    ends = await fleet.within(_all(tasks))
    assert {end.status for end in ends} == {Status.CANCELLED}


async def _all(tasks: Any) -> Any:
    return await asyncio.gather(*(task.outcome() for task in tasks))


async def test_a_role_is_retired_when_nobody_works_and_nothing_waits(fleet: ManualFleet) -> None:
    """Its pause ends with it, its dead letters stay; what waits is lost only when told to."""
    client, store = fleet.client, fleet.bus.store
    await fleet.bus.join("worker", ["work.#"])
    await fleet.bus.dead.put(letter(group="worker"))
    await client.pause("worker")
    shown = Alive(role="worker", worker="w", pid=7, host="h", since=0.0, at=0.0, concurrency=1)
    await store.put(keys.alive("worker", "w"), to_json(asdict(shown)))
    with pytest.raises(RoleInUse, match="1 worker of worker"):
        await client.retire("worker", drop=True)
    await store.delete(keys.alive("worker", "w"))
    await client.publish("work.a", None)
    with pytest.raises(Conflict):
        await client.retire("worker")
    assert list(await fleet.bus.stops.paused()) == ["worker"]
    await client.retire("worker", drop=True)
    assert await fleet.bus.stops.paused() == {}
    with pytest.raises(Unroutable):
        await client.publish("work.a", None)
    with pytest.raises(UnknownRole):
        await client.retire("worker")
    assert [each.group async for each in fleet.bus.dead.all()] == ["worker"]
