"""Cancelled tasks: none starts, what runs is ended, and whoever waits is told."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from bus.backend import Message
from bus.settling import to_message
from contracts.events import Kind
from contracts.limits import Limit
from contracts.outcomes import Outcome, Retry, Snooze
from contracts.results import Status
from tests.bus.rooms import envelope
from tests.engine.fleets import LEASE, LiveFleet, ManualFleet, made
from tests.engine.test_isolation import Apart, gone, running
from tests.engine.test_leases import Gate, gated
from workers.fleet.client import Task
from workers.fleet.options import Options
from workers.sdk.context import Context
from workers.sdk.errors import TaskCancelled
from workers.sdk.role import Role

PUBLISH = Options(tenant="acme", subjects=("ada",))

MARKS: list[dict[str, Any]] = [
    {"role": "worker"},
    {"tenant": "acme"},
    {"subject": "ada"},
    {"every": True},
]
"""All that stops many tasks."""


SOON = 40.0
"""Seconds of the clock in which whatever these tests wait for has happened."""


async def publish(fleet: ManualFleet, payload: Any = None, **more: Any) -> Task:
    """A task that every mark means."""
    (task,) = await fleet.client.publish_many([("work.a", payload)], replace(PUBLISH, **more))
    return task


async def cancelled(fleet: ManualFleet, *tasks: Task) -> None:
    """These tasks ended as cancelled, and nothing is left of anything."""
    for task in tasks:
        end = await fleet.within(task.outcome(), SOON)
        assert (end.status, end.reason, end.value) == (Status.CANCELLED, None, None)
        assert "cancelled by " in end.error
    assert await fleet.dead() == []
    await fleet.clock.advance(2 * LEASE)
    lag = await fleet.bus.lag("worker")
    assert all(each.waiting == each.leased == each.delayed == 0 for each in lag.values())  # type: ignore[attr-defined]


def counted(runs: list[int], outcome: Outcome | None = None, **options: Any) -> Role:
    """A role that counts its runs by their attempts."""

    async def handler(payload: Any, ctx: Context) -> Any:
        runs.append(ctx.attempt)
        return outcome

    return made(handler, **options)


@pytest.mark.promise(23)
@pytest.mark.parametrize("mark", [{}, *MARKS])
async def test_what_waits_is_cancelled_and_never_starts(
    fleet: ManualFleet, mark: dict[str, Any]
) -> None:
    """Also what is not due yet; a task published afterwards runs."""
    runs: list[int] = []
    await fleet.bus.bind("worker", ["work.#"])
    tasks = [await publish(fleet), await publish(fleet, delay=20.0)]
    ids = () if mark else [task.id for task in tasks]
    await fleet.client.cancel(*ids, **mark, reason="not wanted")
    await fleet.clock.advance(0.1)
    later = await publish(fleet)
    member = await fleet.start(counted(runs))
    await cancelled(fleet, *tasks)
    assert (await fleet.within(later.outcome(), SOON)).status is Status.SUCCEEDED
    assert runs == [1]
    assert member.worker.counts.cancelled == 2


@pytest.mark.promise(23)
@pytest.mark.parametrize("outcome", [Retry(after=10.0), Snooze(10.0)])
@pytest.mark.parametrize("mark", [{}, *MARKS])
async def test_what_comes_back_later_is_cancelled(
    fleet: ManualFleet, mark: dict[str, Any], outcome: Retry | Snooze
) -> None:
    runs: list[int] = []
    await fleet.start(counted(runs, outcome))
    task = await publish(fleet)
    await fleet.until(lambda: len(runs) == 1, SOON)
    await fleet.clock.advance(1.0)
    await fleet.client.cancel(*([] if mark else [task.id]), **mark)
    await cancelled(fleet, task)
    assert runs == [1]


@pytest.mark.promise(23)
@pytest.mark.parametrize("mark", [{}, *MARKS])
async def test_what_runs_is_ended_at_once(fleet: ManualFleet, mark: dict[str, Any]) -> None:
    """Its handler is cancelled and knows it; the attempt is not repeated."""
    gate = Gate()
    await fleet.start(gated(gate))
    task = await publish(fleet)
    await fleet.until(lambda: gate.runs == 1, SOON)
    await fleet.client.cancel(*([] if mark else [task.id]), **mark)
    await fleet.until(gate.ended.is_set, 1.0)
    assert gate.contexts[0].cancelled
    await cancelled(fleet, task)
    assert gate.runs == 1


async def test_others_go_on(fleet: ManualFleet) -> None:
    gate = Gate()
    await fleet.start(gated(gate, concurrency=2))
    one, other = await publish(fleet), await publish(fleet)
    await fleet.until(lambda: gate.runs == 2, SOON)
    await one.cancel("not this one")
    await fleet.until(lambda: gate.cancelled == 1, SOON)
    gate.open.set()
    assert (await fleet.within(other.outcome(), SOON)).status is Status.SUCCEEDED
    assert (await fleet.within(one.outcome(), SOON)).error.endswith(": not this one")


@pytest.mark.promise(23)
async def test_a_handler_that_swallows_its_cancellation_has_no_result(fleet: ManualFleet) -> None:
    """Whatever it returns afterwards; it is cancelled once more if it goes on."""
    waits = 0

    async def deaf(payload: Any, ctx: Context) -> str:
        nonlocal waits
        while waits < 2:
            waits += 1
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue
        return "done all the same"

    await fleet.start(made(deaf))
    task = await publish(fleet)
    await fleet.until(lambda: waits == 1, SOON)
    await task.cancel()
    end = await fleet.within(task.outcome(), 2.0)
    assert (end.status, end.value, waits) == (Status.CANCELLED, None, 2)
    await cancelled(fleet, task)


async def test_a_handler_that_ignores_it_is_reported_and_its_run_ends_without_it(
    fleet: ManualFleet,
) -> None:
    """Within two seconds. Its place is free when it is gone, and what it asks for is refused."""
    release = asyncio.Event()
    asked: list[str] = []

    async def stubborn(payload: Any, ctx: Context) -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        try:
            await ctx.publish("work.a", "a follow-up")
        except asyncio.CancelledError:
            asked.append("refused")

    member = await fleet.start(made(stubborn, concurrency=1))
    task = await publish(fleet)
    await fleet.until(lambda: member.worker.running == 1, SOON)
    await fleet.clock.advance(0.1)
    with structlog.testing.capture_logs() as logs:
        await task.cancel()
        assert (await fleet.within(task.outcome(), 2.0)).status is Status.CANCELLED
    assert [line["task"] for line in logs if "ignores" in line["event"]] == [task.id]
    assert (member.worker.running, member.worker.counts.cancelled) == (1, 1)
    release.set()
    await fleet.until(lambda: member.worker.running == 0, SOON)
    assert asked == ["refused"]
    await cancelled(fleet, task)


async def test_one_that_is_cancelled_and_invalid_or_late_is_no_dead_letter(
    fleet: ManualFleet,
) -> None:
    async def strict(payload: int, ctx: Context) -> None:
        return

    await fleet.bus.bind("worker", ["work.#"])
    wrong = await publish(fleet, "no number")
    late = await publish(fleet, 1, deadline=1.0)
    await fleet.client.cancel(wrong.id, late.id)
    await fleet.clock.advance(5.0)
    await fleet.start(made(strict))
    await cancelled(fleet, wrong, late)


async def test_one_that_waits_for_its_limits_is_ended_without_a_start(fleet: ManualFleet) -> None:
    """And gives back what it holds of them: the next one starts."""
    gate = Gate()
    member = await fleet.start(gated(gate, concurrency=3, limits=[Limit(concurrency=1)]))
    first = await publish(fleet)
    await fleet.until(lambda: gate.runs == 1)
    second, third = await publish(fleet), await publish(fleet)
    await fleet.clock.advance(2.0)
    await fleet.client.cancel(first.id, second.id)
    await fleet.until(lambda: gate.runs == 2, SOON)
    gate.open.set()
    assert (await fleet.within(third.outcome(), SOON)).status is Status.SUCCEEDED
    await cancelled(fleet, first, second)
    assert (gate.runs, member.worker.counts.cancelled) == (2, 2)


async def test_one_whose_worker_died_is_no_crash(fleet: ManualFleet) -> None:
    """Though it was its last attempt."""
    gate = Gate()
    first = await fleet.start(gated(gate, attempts=1))
    task = await publish(fleet)
    await fleet.until(lambda: gate.runs == 1, SOON)
    first.cut_off()
    assert first.worker._pulling is not None
    first.worker._pulling.cancel()
    await first.bus.stop_view.close()
    await task.cancel()
    await fleet.start(gated(gate, attempts=1))
    await cancelled(fleet, task)
    assert gate.runs == 1


async def test_the_end_of_a_cancelled_task_is_told(fleet: ManualFleet) -> None:
    heard = await fleet.listen()
    gate = Gate()
    await fleet.start(gated(gate))
    task = await publish(fleet)
    await fleet.until(lambda: gate.runs == 1, SOON)
    await fleet.clock.advance(0.5)
    await task.cancel("wrong")
    await cancelled(fleet, task)
    events = [event for event in await heard() if event.task == task.id]
    assert [event.kind for event in events] == [Kind.STARTED, Kind.CANCELLED]
    assert events[1].data["error"].endswith(": wrong")


async def test_whoever_waits_for_the_result_is_told(fleet: ManualFleet) -> None:
    await fleet.bus.bind("worker", ["work.#"])
    task = await publish(fleet)
    await task.cancel("wrong")
    await fleet.start(counted([]))
    with pytest.raises(TaskCancelled) as caught:
        await fleet.within(task.result(), SOON)
    what, why, do = caught.value.lines()
    assert what == f"task {task.id} was cancelled"
    assert why.startswith("cancelled by ")
    assert do


async def test_what_has_ended_stays_as_it_is(fleet: ManualFleet) -> None:
    await fleet.start(counted([]))
    task = await publish(fleet)
    assert (await fleet.within(task.outcome(), SOON)).status is Status.SUCCEEDED
    await task.cancel()
    await fleet.clock.advance(5.0)
    assert (await fleet.within(task.outcome(), SOON)).status is Status.SUCCEEDED


@pytest.mark.promise(23)
@pytest.mark.parametrize("mark", [{}, {"role": "worker"}])
async def test_the_children_of_a_cancelled_parent_are_ended(
    fleet: ManualFleet, mark: dict[str, Any]
) -> None:
    """Running and waiting, and theirs too, whatever mark ended the parent."""
    leaf = Gate()
    waits = 0

    async def middle(payload: Any, ctx: Context) -> Any:
        nonlocal waits
        waits += 1
        return await ctx.call("leaf", payload)

    async def parent(payload: Any, ctx: Context) -> Any:
        return await asyncio.gather(*(ctx.call("middle", n) for n in range(3)))

    await fleet.start(gated(leaf, name="leaf", listens=(), concurrency=2))
    middles = await fleet.start(made(middle, "middle", listens=()))
    await fleet.start(made(parent))
    task = await publish(fleet)
    await fleet.until(lambda: leaf.runs == 2, SOON)
    await fleet.client.cancel(*([] if mark else [task.id]), **mark)
    await fleet.until(lambda: leaf.cancelled == 2, 3.0)
    await cancelled(fleet, task)
    leaves = fleet.members[0].worker.counts
    await fleet.until(lambda: leaves.cancelled == 3, 3.0)
    assert (leaf.runs, waits, middles.worker.counts.cancelled) == (2, 3, 3)


async def test_a_parent_gets_an_error_for_a_child_that_was_cancelled(fleet: ManualFleet) -> None:
    """And may go on without it."""
    gate = Gate()

    async def parent(payload: Any, ctx: Context) -> Any:
        try:
            return await ctx.call("child", 1)
        except TaskCancelled as error:
            return [error.result.status, ctx.cancelled]

    await fleet.start(gated(gate, name="child", listens=()))
    await fleet.start(made(parent))
    task = await publish(fleet)
    await fleet.until(lambda: gate.runs == 1, SOON)
    await fleet.client.cancel(gate.contexts[0].id)
    assert await fleet.within(task.result(), SOON) == ["cancelled", False]


@pytest.mark.promise(23)
@pytest.mark.parametrize("mark", [{}, *MARKS])
async def test_a_dead_letter_that_is_retried_runs_in_spite_of_older_stops(
    fleet: ManualFleet, mark: dict[str, Any]
) -> None:
    """With its children; a stop of later than that ends it."""
    runs: list[int] = []

    async def parent(payload: Any, ctx: Context) -> Any:
        runs.append(ctx.attempt)
        if len(runs) == 1:
            raise ValueError("the first time")
        return await ctx.call("child", runs[-1])

    async def child(payload: int, ctx: Context) -> int:
        return payload

    await fleet.start(made(child, "child", listens=()))
    await fleet.start(made(parent, attempts=1))
    task = await publish(fleet)
    await fleet.until(lambda: fleet.members[1].worker.counts.failed == 1, SOON)
    await fleet.client.cancel(*([] if mark else [task.id]), **mark)
    await fleet.clock.advance(5.0)
    assert len(await fleet.dead()) == 1
    (letter,) = await fleet.client.retry(task.id)
    assert (letter.id, letter.group) == (task.id, "worker")
    await fleet.until(lambda: fleet.members[1].worker.counts.succeeded == 1, SOON)
    assert runs == [1, 1]


@pytest.mark.promise(23)
async def test_nothing_starts_while_stops_are_not_known(fleet: ManualFleet) -> None:
    """What is in hand waits under its lease; what runs, runs on; then what was stopped meanwhile
    ends, and the rest runs."""
    gate, runs = Gate(), list[int]()

    async def handler(payload: Any, ctx: Context) -> Any:
        if payload == "long":
            return await gate(ctx)
        runs.append(payload)
        return None

    member = await fleet.start(made(handler, concurrency=3))
    long = await publish(fleet, "long")
    await fleet.until(lambda: gate.runs == 1, SOON)
    fleet.broker.store.outage()
    await fleet.clock.advance(2.0)
    tasks = [await publish(fleet, n) for n in range(3)]
    await fleet.clock.advance(5 * LEASE)
    assert (runs, gate.runs, gate.cancelled) == ([], 1, 0)
    assert member.worker.counts.lost == 0
    gate.open.set()
    fleet.broker.store.restore()
    await tasks[1].cancel()
    for task in (long, tasks[0], tasks[2]):
        assert (await fleet.within(task.outcome(), SOON)).status is Status.SUCCEEDED
    await cancelled(fleet, tasks[1])
    assert sorted(runs) == [0, 2]


@pytest.mark.promise(23)
async def test_a_process_that_stood_still_starts_nothing_on_what_it_knew(
    fleet: ManualFleet,
) -> None:
    """For three seconds nothing of it ran; then a place is free before it has heard anything."""
    gate = Gate()
    member = await fleet.start(gated(gate, concurrency=1))
    first = await publish(fleet)
    await fleet.until(lambda: gate.runs == 1, SOON)
    second = await publish(fleet)
    (held,) = await fleet.deliveries()
    member.keeper.hold(held)
    member.worker._queue.append(held)
    fleet.clock._now += 3.0
    gate.open.set()
    for _ in range(50):
        await asyncio.sleep(0)
    assert (member.worker.running, gate.runs) == (0, 1)
    await second.cancel()
    await cancelled(fleet, second)
    assert (await fleet.within(first.outcome(), SOON)).status is Status.SUCCEEDED
    assert gate.runs == 1


async def test_a_child_process_is_ended_with_what_it_has_started(tmp_path: Path) -> None:
    """It may clean up for a second; its handler is told."""
    fleet = LiveFleet(lease=5.0)
    async with fleet.running(*running("apart", "leaf"), drain=0.2):
        apart = Apart(fleet, tmp_path)
        payload = {"what": "hang", "file": str(apart.said)}
        task = await fleet.client.publish("apart.x", payload)
        pids = [int(word) for word in await apart.words("pids")]
        await task.cancel()
        assert await gone(pids, 2.0) < 2.0
        assert await apart.words("cancelled") == ["True"]
        assert (await task.outcome(5.0)).status is Status.CANCELLED


@pytest.mark.parametrize("role", ["apart", "shared"])
async def test_a_child_process_that_blocks_is_killed(tmp_path: Path, role: str) -> None:
    """Of a role that asked for it, and of a suspect."""
    fleet = LiveFleet(lease=5.0)
    async with fleet.running(*running(role, "leaf"), drain=0.2):
        apart = Apart(fleet, tmp_path)
        body = f'{{"what": "block", "file": "{apart.said}"}}'.encode()
        task = envelope("blocks", topic=f"{role}.x", body=body, reply="me", suspect=True, copy=1)
        message: Message = to_message(task, group=role)
        await fleet.client.bus._backend.publish([message])
        (pid,) = map(int, await apart.words("pids"))
        assert pid != os.getpid()
        await fleet.client.cancel("blocks")
        assert await gone([pid], 2.0) < 2.0
        async with asyncio.timeout(5.0):
            async for end in fleet.client.bus.outcomes.watch("me"):
                assert end.status is Status.CANCELLED
                break
