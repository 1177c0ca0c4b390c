"""`ctx.call`: children are run once, and a waiting parent is in nobody's way."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from pydantic import BaseModel

from contracts.events import Kind
from contracts.outcomes import Reason, Reject, Retry, Snooze
from contracts.results import Status
from tests.engine.fleets import LEASE, ManualFleet, made
from workers.sdk.context import Context
from workers.sdk.errors import TaskFailed, UnknownRole


class Sum(BaseModel):
    total: int


async def double(payload: int, ctx: Context) -> int:
    """The child of most tests."""
    return 2 * payload


async def test_a_parent_gets_the_result_of_its_child_as_the_type_it_asks_for(
    fleet: ManualFleet,
) -> None:
    async def adder(payload: list[int], ctx: Context) -> Sum:
        return Sum(total=sum(payload))

    async def parent(payload: Any, ctx: Context) -> list[Any]:
        plain = await ctx.call("adder", [1, 2])
        typed = await ctx.call("adder", [3, 4], returns=Sum)
        assert isinstance(typed, Sum)
        return [plain, typed.total]

    await fleet.start(made(adder, "adder", listens=()))
    await fleet.start(made(parent))
    task = await fleet.client.publish("work.a", None)
    assert await fleet.within(task.result()) == [{"total": 3}, 7]


async def test_a_parent_that_runs_again_finds_what_its_children_have_done(
    fleet: ManualFleet,
) -> None:
    """Each child runs once, over retries and snoozes of the parent."""
    runs: Counter[int] = Counter()

    async def child(payload: int, ctx: Context) -> int:
        runs[payload] += 1
        return 2 * payload

    async def parent(payload: Any, ctx: Context) -> list[int]:
        first = await ctx.call("child", 1)
        if ctx.fence == 0:
            raise ValueError("after the first")
        second = await ctx.call("child", 2)
        if ctx.fence == 1:
            return Snooze(5.0)  # type: ignore[return-value]
        third = await asyncio.gather(*(ctx.call("child", n) for n in range(3, 6)))
        if ctx.fence == 2:
            return Retry(after=0.0)  # type: ignore[return-value]
        return [first, second, *third]

    await fleet.start(made(child, "child", listens=()))
    await fleet.start(made(parent))
    task = await fleet.client.publish("work.a", None)
    assert await fleet.within(task.result()) == [2, 4, 6, 8, 10]
    assert runs == Counter(range(1, 6))


async def test_a_parent_whose_process_died_finds_its_children_again(fleet: ManualFleet) -> None:
    runs = 0

    async def child(payload: int, ctx: Context) -> int:
        nonlocal runs
        runs += 1
        return payload

    async def dies(payload: Any, ctx: Context) -> int:
        await ctx.call("child", 7)
        await first.crash()
        await asyncio.Event().wait()
        return 0

    async def lives(payload: Any, ctx: Context) -> int:
        return int(await ctx.call("child", 7))

    await fleet.start(made(child, "child", listens=()))
    first = await fleet.start(made(dies))
    task = await fleet.client.publish("work.a", None)
    await fleet.until(lambda: runs == 1)
    await fleet.clock.advance(1.0)
    await fleet.start(made(lives))
    assert await fleet.within(task.result(), 3 * LEASE) == 7
    assert runs == 1


@pytest.mark.promise(4)
@pytest.mark.parametrize("ends", ["retried", "killed"])
async def test_an_unfinished_child_is_not_published_again_however_late_its_parent_comes_back(
    fleet: ManualFleet, ends: str
) -> None:
    """Far outside the window within which the broker itself knows a repetition."""
    starts: list[str] = []

    async def parent(payload: Any, ctx: Context) -> int:
        starts.append("parent")
        if len(starts) > 1:
            return int(await ctx.call("child", 7))
        called = asyncio.create_task(ctx.call("child", 7))
        await asyncio.sleep(0)
        await fleet.clock.sleep(90.0 if ends == "killed" else 1.0)
        if ends == "killed":
            await asyncio.Event().wait()
        called.cancel()
        return Retry(after=600.0)  # type: ignore[return-value]

    async def child(payload: int, ctx: Context) -> int:
        return payload

    await fleet.bus.bind("child", [])
    first = await fleet.start(made(parent, timeout=10_000.0))
    task = await fleet.client.publish("work.a", None)
    await fleet.clock.advance(100.0)
    if ends == "killed":
        await first.crash()
        await fleet.clock.advance(300.0)
        await fleet.start(made(parent, timeout=10_000.0))
    await fleet.until(lambda: len(starts) == 2, 2000.0)
    await fleet.clock.advance(1.0)
    assert len(await fleet.deliveries("child")) == 1
    del child, task


async def test_the_same_call_twice_is_two_children(fleet: ManualFleet) -> None:
    ids: set[str] = set()

    async def child(payload: int, ctx: Context) -> str:
        ids.add(ctx.id)
        return ctx.id

    async def parent(payload: Any, ctx: Context) -> int:
        found = await asyncio.gather(ctx.call("child", 1), ctx.call("child", 1))
        return len(set(found))

    await fleet.start(made(child, "child", listens=()))
    await fleet.start(made(parent))
    task = await fleet.client.publish("work.a", None)
    assert await fleet.within(task.result()) == 2
    assert len(ids) == 2


async def test_a_child_that_died_is_an_error_that_ends_its_parent_with_the_reason(
    fleet: ManualFleet,
) -> None:
    """Repeating the parent would find the same dead child."""
    parents = 0

    async def child(payload: Any, ctx: Context) -> Any:
        return Reject("not today")

    async def parent(payload: Any, ctx: Context) -> Any:
        nonlocal parents
        parents += 1
        return await ctx.call("child", 1)

    await fleet.start(made(child, "child", listens=()))
    await fleet.start(made(parent))
    task = await fleet.client.publish("work.a", None)
    end = await fleet.within(task.outcome())
    assert (end.reason, parents) == (Reason.REJECTED, 1)
    assert "not today" in end.error
    assert {letter.group for letter in await fleet.dead()} == {"child", "worker"}


async def test_a_parent_may_go_on_without_a_child_that_died(fleet: ManualFleet) -> None:
    async def child(payload: Any, ctx: Context) -> Any:
        return Reject("not today")

    async def parent(payload: Any, ctx: Context) -> str:
        try:
            await ctx.call("child", 1)
        except TaskFailed as error:
            return error.result.error
        return "no error"

    await fleet.start(made(child, "child", listens=()))
    await fleet.start(made(parent))
    task = await fleet.client.publish("work.a", None)
    assert await fleet.within(task.result()) == "not today"


async def test_a_role_that_nobody_has_is_said_to_be_unknown(fleet: ManualFleet) -> None:
    async def parent(payload: Any, ctx: Context) -> str:
        try:
            await ctx.call("nobody", 1)
        except UnknownRole as error:
            return error.message
        return "no error"

    await fleet.start(made(parent))
    task = await fleet.client.publish("work.a", None)
    assert await fleet.within(task.result()) == "no role 'nobody' is bound"


@pytest.mark.parametrize("depth", [1, 5, 40])
async def test_a_role_of_one_place_may_call_itself(fleet: ManualFleet, depth: int) -> None:
    """A waiting parent gives its place back, else a fleet deadlocks on itself."""

    async def handler(payload: int, ctx: Context) -> int:
        return 0 if payload == 0 else 1 + int(await ctx.call("worker", payload - 1))

    await fleet.start(made(handler, concurrency=1))
    task = await fleet.client.publish("work.a", depth)
    assert await fleet.within(task.result(), 3 * depth + 30.0) == depth


async def test_many_parents_that_call_their_own_role_do_not_lock_each_other_out(
    fleet: ManualFleet,
) -> None:
    """With a child at the end of the line behind other parents."""

    async def handler(payload: int, ctx: Context) -> int:
        return 0 if payload == 0 else 1 + int(await ctx.call("worker", payload - 1))

    await fleet.start(made(handler, concurrency=2))
    tasks = await fleet.client.publish_many([("work.a", 2) for _ in range(60)])
    for task in tasks:
        assert await fleet.within(task.result()) == 2


async def test_a_child_that_lies_in_its_parents_own_queue_is_started(fleet: ManualFleet) -> None:
    """Read ahead while the parent held the only place: nobody else can run it."""
    handed = asyncio.Event()

    async def handler(payload: str, ctx: Context) -> str:
        if payload == "parent":
            handed.set()
            await fleet.clock.sleep(1.0)
            return str(await ctx.call("worker", "child"))
        return payload

    member = await fleet.start(made(handler, concurrency=1))
    parent = await fleet.client.publish("work.a", "parent")
    await fleet.within(handed.wait())
    others = await fleet.client.publish_many([("work.a", str(n)) for n in range(5)])
    for found in await fleet.deliveries():
        member.keeper.hold(found)
        member.worker._queue.append(found)
    assert await fleet.within(parent.result(), 60.0) == "child"
    for other in others:
        await fleet.within(other.outcome())


async def test_many_calls_of_one_run_give_back_one_place(fleet: ManualFleet) -> None:
    """A role never runs more handlers at once than it says."""
    busy, most = 0, 0
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def child(payload: int, ctx: Context) -> int:
        begun.set()
        await go_on.wait()
        return payload

    async def handler(payload: str, ctx: Context) -> int:
        nonlocal busy, most
        if payload == "parent":
            return len(await asyncio.gather(*(ctx.call("child", n) for n in range(20))))
        busy += 1
        most = max(most, busy)
        await fleet.clock.sleep(1.0)
        busy -= 1
        return 1

    await fleet.start(made(child, "child", listens=(), concurrency=20))
    await fleet.start(made(handler, concurrency=2))
    parent = await fleet.client.publish("work.a", "parent")
    await fleet.within(begun.wait())
    others = await fleet.client.publish_many([("work.a", "busy") for _ in range(30)])
    for other in others:
        await fleet.within(other.outcome())
    go_on.set()
    assert await fleet.within(parent.result()) == 20
    assert most == 2


async def test_a_run_that_returns_goes_before_new_ones(fleet: ManualFleet) -> None:
    order: list[str] = []

    async def handler(payload: str, ctx: Context) -> None:
        if payload == "parent":
            await ctx.call("child", 1)
        await fleet.clock.sleep(1.0)
        order.append(payload)

    await fleet.start(made(double, "child", listens=()))
    await fleet.start(made(handler, concurrency=1))
    tasks = await fleet.client.publish_many(
        [("work.a", "parent"), *[("work.a", f"new-{n}") for n in range(5)]]
    )
    for task in tasks:
        await fleet.within(task.outcome())
    assert "parent" in order[:2]


async def test_children_inherit_who_they_are_for_and_until_when(fleet: ManualFleet) -> None:
    seen: list[tuple[object, ...]] = []

    async def child(payload: Any, ctx: Context) -> None:
        seen.append((ctx.tenant, ctx.deadline, ctx.correlation, ctx.topic))

    async def parent(payload: Any, ctx: Context) -> float | None:
        await ctx.call("child", 1)
        await ctx.call("child", 2, deadline=fleet.clock.wall() + 5.0)
        return ctx.deadline

    await fleet.start(made(child, "child", listens=()))
    await fleet.start(made(parent))
    task = await fleet.client.publish("work.a", None, tenant="acme", deadline=100.0)
    deadline = await fleet.within(task.result())
    assert seen[0] == ("acme", deadline, task.id, "call.child")
    assert seen[1][1] < deadline


async def test_a_call_outlives_an_outage_of_the_broker(fleet: ManualFleet) -> None:
    """It costs the parent no attempt."""
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def child(payload: Any, ctx: Context) -> str:
        asked.set()
        await go_on.wait()
        return "child"

    async def parent(payload: Any, ctx: Context) -> list[Any]:
        return [ctx.attempt, await ctx.call("child", 1)]

    await fleet.start(made(child, "child", listens=()))
    await fleet.start(made(parent))
    task = await fleet.client.publish("work.a", None)
    await fleet.within(asked.wait())
    fleet.broker.outage()
    await fleet.clock.advance(LEASE / 2)
    fleet.broker.restore()
    go_on.set()
    assert await fleet.within(task.result()) == [1, "child"]


async def test_a_call_nobody_waits_for_any_more_leaves_no_place_taken(
    fleet: ManualFleet,
) -> None:
    """The handler ends while a call it began still waits."""
    left: list[BaseException] = []

    async def call(ctx: Context) -> None:
        try:
            await ctx.call("child", 1)
        except BaseException as error:
            left.append(error)
            raise

    async def child(payload: Any, ctx: Context) -> None:
        await fleet.clock.sleep(50.0)

    orphans: list[asyncio.Task[None]] = []

    async def parent(payload: Any, ctx: Context) -> str:
        orphans.append(asyncio.create_task(call(ctx)))
        await fleet.clock.sleep(1.0)
        return "done"

    await fleet.start(made(child, "child", listens=()))
    member = await fleet.start(made(parent, concurrency=2))
    for _ in range(5):
        task = await fleet.client.publish("work.a", None)
        assert await fleet.within(task.result()) == "done"
    await asyncio.wait(orphans)
    assert len(left) == 5
    slots = member.worker.slots
    assert (slots._taken, slots._waiting, slots.free) == (0, 0, 2)
    assert all(orphan.exception() is not None for orphan in orphans)


async def test_a_fleet_tells_which_process_did_what(fleet: ManualFleet) -> None:
    heard = await fleet.listen()

    async def parent(payload: Any, ctx: Context) -> int:
        return int(await ctx.call("child", 21))

    await fleet.start(made(double, "child", listens=()), name="c-1")
    await fleet.start(made(parent), name="p-1")
    task = await fleet.client.publish("work.a", None)
    end = await fleet.within(task.outcome())
    assert (end.value, end.status) == (42, Status.SUCCEEDED)
    ends = [event for event in await heard() if event.kind is Kind.SUCCEEDED]
    assert {(e.worker, e.correlation or e.task) for e in ends} == {
        ("c-1", task.id),
        ("p-1", task.id),
    }
