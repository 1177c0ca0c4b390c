"""While the ledger is away: auctioned tasks wait, running ones go on, nothing is lost."""

import asyncio
from typing import Any

from contracts.envelope import decode
from tests.auctions.fleets import AWARD, AuctionFleet, sold
from tests.auctions.test_end_to_end import answering, left
from workers.auctions.deeds import Publish, Put
from workers.auctions.marks import unauctioned
from workers.sdk.context import Context


async def test_new_tasks_wait_in_the_queue(fleet: AuctionFleet) -> None:
    member = await fleet.sell(sold(answering))
    fleet.cluster.away = True
    await fleet.until(lambda: not member.source.reach.here, 20.0)
    task = await fleet.client.publish("work.a", 1)
    await fleet.clock.advance(30.0)
    assert member.deeds == []
    assert "the ledger is away" in member.worker.trouble()
    fleet.cluster.bring_back()
    assert await fleet.within(task.result(), 30.0) == 1
    assert member.worker.trouble() == ""


async def test_a_task_that_was_pulled_while_it_went_away_is_put_off_with_its_key(
    fleet: AuctionFleet,
) -> None:
    """Whether `open` was done is not known: it is said again, under the same key."""
    member = await fleet.sell(sold(answering))
    fleet.cluster.away = True
    task = await fleet.client.publish("work.a", 1)
    await fleet.until(lambda: not member.source.reach.here, 20.0)
    await fleet.clock.advance(20.0)
    fleet.cluster.bring_back()
    assert await fleet.within(task.result(), 30.0) == 1
    assert list(fleet.cluster.completed) == [f"worker.{task.id}.0"]


async def test_what_runs_goes_on_and_is_finished_when_the_ledger_answers(
    fleet: AuctionFleet,
) -> None:
    """Its outcome is stored, its place is free meanwhile, and it is not run again."""
    gate = asyncio.Event()
    runs: list[str] = []

    async def handler(payload: Any, ctx: Context) -> Any:
        runs.append(ctx.id)
        await gate.wait()
        return payload

    member = await fleet.sell(sold(handler, concurrency=1))
    task = await fleet.client.publish("work.a", 1)
    await fleet.until(lambda: bool(runs), 20.0)
    fleet.cluster.away = True
    await fleet.clock.advance(3 * AWARD)
    assert member.worker.running == 1
    gate.set()
    await fleet.until(lambda: member.worker.slots.free == 1, 20.0)
    assert any(isinstance(deed, Put) for deed in member.deeds)
    assert not any(isinstance(deed, Publish) for deed in member.deeds)
    fleet.cluster.bring_back()
    assert await fleet.within(task.result(), 20.0) == 1
    assert runs == [task.id]
    await fleet.clock.advance(70.0)
    assert await left(fleet) == []


async def test_another_worker_finishes_it_where_the_winner_is_gone_too(
    fleet: AuctionFleet,
) -> None:
    """The award lapses when the ledger is there again, and the task is run again."""
    first = await fleet.sell(sold(answering), name="first")
    fleet.crash_after = lambda member, deed: member is first and isinstance(deed, Put)
    task = await fleet.client.publish("work.a", 1)
    await fleet.until(lambda: first.gone, 20.0)
    fleet.cluster.away = True
    await fleet.clock.advance(10.0)
    second = await fleet.sell(sold(answering), name="second")
    assert second.deeds == []
    fleet.cluster.bring_back()
    assert await fleet.within(task.result(), 60.0) == 1
    await fleet.clock.advance(70.0)
    assert await left(fleet) == []


async def test_with_a_fallback_new_tasks_run_from_the_queue_and_never_return(
    fleet: AuctionFleet,
) -> None:
    fences: list[tuple[int, int]] = []

    async def handler(payload: Any, ctx: Context) -> Any:
        fences.append((ctx.attempt, ctx.fence))
        if ctx.attempt == 1:
            raise ValueError("once")
        return payload

    fleet.cluster.away = True
    member = await fleet.sell(sold(handler, fallback="queue"))
    task = await fleet.client.publish("work.a", 1)
    await fleet.until(lambda: len(fences) == 1, 20.0)
    fleet.cluster.bring_back()
    assert await fleet.within(task.result(), 30.0) == 1
    assert fences == [(1, 1), (2, 2)]
    assert fleet.cluster.machine.state.tasks == {}
    assert member.deeds == []


async def test_with_a_fallback_what_was_offered_before_still_waits(fleet: AuctionFleet) -> None:
    """Only a first copy in its first hands was surely never offered."""
    member = await fleet.sell(sold(answering, fallback="queue", bid=lambda _: None))
    await fleet.client.publish("work.a", 1)
    await fleet.until(lambda: bool(member.deeds), 20.0)
    await fleet.clock.advance(0.5)
    fleet.cluster.away = True
    await fleet.clock.advance(60.0)
    assert member.worker.counts.succeeded == 0
    await member.end()
    waiting: list[Any] = []
    while not waiting:
        await fleet.clock.advance(1.0)
        waiting = await fleet.deliveries()
    message = waiting[0].message
    assert not unauctioned(decode(message.headers, message.body))


async def test_a_task_that_runs_from_the_queue_crashes_as_any_other(fleet: AuctionFleet) -> None:
    """It is counted and comes back marked: its attempts are those of the queue."""
    runs: list[int] = []

    async def handler(payload: Any, ctx: Context) -> Any:
        runs.append(ctx.attempt)
        if len(runs) == 1:
            await asyncio.Event().wait()
        return payload

    fleet.cluster.away = True
    first = await fleet.sell(sold(handler, fallback="queue"))
    task = await fleet.client.publish("work.a", 1)
    await fleet.until(lambda: runs == [1], 20.0)
    await first.crash()
    await fleet.sell(sold(handler, fallback="queue"))
    assert await fleet.within(task.result(), 60.0) == 1
    assert runs == [1, 2]
