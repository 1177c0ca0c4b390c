"""What a role's other options mean where its tasks are auctioned; many tasks at once."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from bus.backend import Message
from bus.errors import TooLarge
from contracts.limits import Limit
from contracts.outcomes import Snooze
from tests.auctions.fleets import AuctionFleet, AuctionMember, sold
from tests.auctions.test_end_to_end import answering, left
from workers.auctions.deeds import Put
from workers.sdk.blocking import SyncContext
from workers.sdk.context import Context
from workers.sdk.errors import TaskCancelled, TaskFailed


async def test_a_running_task_that_is_cancelled_ends_as_that(fleet: AuctionFleet) -> None:
    async def handler(payload: Any, ctx: Context) -> Any:
        await asyncio.Event().wait()

    member = await fleet.sell(sold(handler))
    task = await fleet.client.publish("work.a", 1)
    await fleet.until(lambda: member.worker.running == 1, 20.0)
    await fleet.within(fleet.client.cancel(task.id))
    with pytest.raises(TaskCancelled):
        await fleet.within(task.result(), 30.0)
    assert len(fleet.cluster.completed) == 1
    await fleet.clock.advance(60.0)
    assert await left(fleet) == []


async def test_a_deadline_ends_a_task_that_nobody_wants(fleet: AuctionFleet) -> None:
    await fleet.sell(sold(answering, bid=lambda _: None))
    task = await fleet.client.publish("work.a", 1, deadline=5.0)
    with pytest.raises(TaskFailed):
        await fleet.within(task.result(), 90.0)
    (letter,) = await fleet.dead()
    assert letter.reason == "expired"
    assert await left(fleet) == []


async def test_a_payload_that_does_not_fit_is_a_dead_letter(fleet: AuctionFleet) -> None:
    async def handler(payload: int, ctx: Context) -> int:
        return payload

    await fleet.sell(sold(handler))
    await fleet.client.publish("work.a", "text")
    letters: list[Any] = []
    while not letters:
        await fleet.clock.advance(0.5)
        letters = await fleet.dead()
    assert letters[0].reason == "invalid"
    assert len(fleet.cluster.completed) == 1


async def test_a_snooze_is_auctioned_anew_and_uses_no_attempt(fleet: AuctionFleet) -> None:
    runs: list[tuple[int, int]] = []

    async def handler(payload: Any, ctx: Context) -> Any:
        runs.append((ctx.attempt, ctx.fence))
        return Snooze(3.0) if len(runs) < 3 else "fine"

    await fleet.sell(sold(handler))
    task = await fleet.client.publish("work.a", 1)
    assert await fleet.within(task.result(), 60.0) == "fine"
    assert [attempt for attempt, _ in runs] == [1, 1, 1]
    assert len({fence for _, fence in runs}) == 3


async def test_limits_hold(fleet: AuctionFleet) -> None:
    starts: list[float] = []

    async def handler(payload: Any, ctx: Context) -> Any:
        starts.append(fleet.clock.wall())
        return payload

    await fleet.sell(sold(handler, limits=[Limit(rate="1/s")]))
    tasks = [await fleet.client.publish("work.a", n) for n in range(5)]
    for number, task in enumerate(tasks):
        assert await fleet.within(task.result(), 60.0) == number
    gaps = [late - early for early, late in pairwise(starts)]
    assert min(gaps) > 0.9


async def test_a_plain_function_is_fenced_too(fleet: AuctionFleet) -> None:
    def handler(payload: Any, ctx: SyncContext) -> Any:
        return ctx.fence

    member = await fleet.sell(sold(handler))
    task = await fleet.client.publish("work.a", 1)
    while not member.worker.counts.succeeded:
        await asyncio.sleep(0.001)
        await fleet.clock.advance(0.05)
    assert await fleet.within(task.result()) in fleet.cluster.completed.values()


async def test_bytes_that_are_no_task_are_a_dead_letter_without_an_auction(
    fleet: AuctionFleet,
) -> None:
    await fleet.sell(sold(answering))
    bad = Message("x-1", 0, "work.a", b"\xff", {"x-foreign": "1"})
    await fleet.within(fleet.members[0].backend.publish([bad]))
    letters: list[Any] = []
    while not letters:
        await fleet.clock.advance(0.5)
        letters = await fleet.dead()
    assert letters[0].reason == "invalid"
    assert fleet.cluster.machine.state.tasks == {}


async def test_many_tasks_few_places_and_crashes(fleet: AuctionFleet) -> None:
    """Each ends once, and no more are open at a time than there are places."""
    counts: list[int] = []
    ended: list[int] = []

    async def handler(payload: int, ctx: Context) -> int:
        tasks = fleet.cluster.machine.state.tasks.values()
        counts.append(sum(not task.phase.ended for task in tasks))
        await fleet.clock.sleep(0.3)
        ended.append(payload)
        return payload

    puts: dict[str, int] = {}

    def every_tenth(member: AuctionMember, deed: Any) -> bool:
        if isinstance(deed, Put) and member.name != "last":
            puts[member.name] = puts.get(member.name, 0) + 1
        return puts.get(member.name) == 8

    fleet.crash_after = every_tenth
    for name in ("a", "b", "last"):
        await fleet.sell(sold(handler, concurrency=2), name=name)
    tasks = [await fleet.client.publish("work.a", n) for n in range(40)]
    for number, task in enumerate(tasks):
        assert await fleet.within(task.result(), 120.0) == number
    assert set(ended) == set(range(40))
    assert len(fleet.cluster.completed) == 40
    assert max(counts) <= 12
    assert await fleet.dead() == []


async def test_a_result_that_does_not_fit_with_what_was_published_is_a_dead_letter(
    fleet: AuctionFleet,
) -> None:
    """Both lie in one entry of the store until they count."""

    async def handler(payload: Any, ctx: Context) -> Any:
        await ctx.publish("next.a", "x" * 390_000)
        return "y" * 800_000

    await fleet.bus.bind("next", ["next.#"])
    await fleet.sell(sold(handler))
    task = await fleet.client.publish("work.a", 1)
    with pytest.raises(TaskFailed):
        await fleet.within(task.result(), 30.0)
    (letter,) = await fleet.dead()
    assert "larger together" in letter.error
    assert await fleet.deliveries("next") == []


async def test_a_run_may_publish_so_much_and_no_more(fleet: AuctionFleet) -> None:
    refused: list[str] = []

    async def handler(payload: Any, ctx: Context) -> Any:
        await ctx.publish("next.a", "x" * 300_000)
        try:
            await ctx.publish("next.b", "x" * 300_000)
        except TooLarge as error:
            refused.append(error.message)

    await fleet.bus.bind("next", ["next.#"])
    await fleet.sell(sold(handler))
    task = await fleet.client.publish("work.a", 1)
    await fleet.within(task.result(), 30.0)
    assert len(refused) == 1
    assert [found.message.topic for found in await fleet.deliveries("next")] == ["next.a"]


async def test_the_parts_of_a_result_are_those_of_the_run_that_counts(fleet: AuctionFleet) -> None:
    """A run that was cut off has streamed the beginning of something else."""
    runs: list[int] = []
    stuck = asyncio.Event()

    async def handler(payload: Any, ctx: Context) -> Any:
        runs.append(ctx.fence)
        await ctx.stream(f"run {len(runs)}")
        if len(runs) == 1:
            await fleet.clock.sleep(0.3)
            await ctx.stream("more of the first")
            await stuck.wait()
        return len(runs)

    first = await fleet.sell(sold(handler), name="first")
    task = await fleet.client.publish("work.a", 1, stream=True)
    await fleet.until(lambda: bool(runs), 20.0)
    await fleet.clock.advance(1.0)
    await first.crash()
    await fleet.sell(sold(handler), name="second")
    assert await fleet.within(task.result(), 60.0) == 2

    async def read() -> list[Any]:
        parts: list[Any] = []
        async for part in task.stream():
            parts = [] if part.restarts else [*parts, part.value]
        return parts

    assert await fleet.within(read(), 20.0) == ["run 2"]
    stuck.set()
