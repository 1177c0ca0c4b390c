"""Auctioned tasks from their publish to their end, over the real bus, engine and state machine."""

import asyncio
from typing import Any

import pytest
from pydantic_core import from_json

from contracts.events import Kind
from contracts.outcomes import Reject
from tests.auctions.fleets import AWARD, AuctionFleet, AuctionMember, sold
from workers.auctions.deeds import Forget, Get, Put, Watch
from workers.sdk.bids import Bid
from workers.sdk.context import Context
from workers.sdk.errors import TaskCancelled


async def test_a_task_is_offered_awarded_run_and_answered(fleet: AuctionFleet) -> None:
    fences: list[int] = []

    async def handler(payload: Any, ctx: Context) -> Any:
        fences.append(ctx.fence)
        return {"got": payload}

    member = await fleet.sell(sold(handler))
    task = await fleet.client.publish("work.a", {"n": 1})
    assert await fleet.within(task.result(), 20.0) == {"got": {"n": 1}}
    ((key, token),) = fleet.cluster.completed.items()
    assert key == f"worker.{task.id}.0"
    assert fences == [token]
    assert member.worker.counts.succeeded == 1


async def test_nothing_stays_in_the_store(fleet: AuctionFleet) -> None:
    member = await fleet.sell(sold(answering))
    task = await fleet.client.publish("work.a", 7)
    assert await fleet.within(task.result(), 20.0) == 7
    await fleet.until(lambda: watched(member), 60.0)
    await fleet.clock.advance(1.0)
    assert await left(fleet) == []
    assert await fleet.deliveries() == []


async def test_the_better_bid_wins(fleet: AuctionFleet) -> None:
    ran: list[str] = []

    def by(name: str, score: int) -> Any:
        async def handler(payload: Any, ctx: Context) -> Any:
            ran.append(name)

        return sold(handler, bid=lambda _: Bid(score))

    await fleet.sell(by("worse", 1))
    await fleet.sell(by("better", 2))
    tasks = [await fleet.client.publish("work.a", n) for n in range(3)]
    for task in tasks:
        await fleet.within(task.result(), 30.0)
    assert ran == ["better"] * 3


async def test_a_failing_task_is_auctioned_again_and_dies_of_its_attempts(
    fleet: AuctionFleet,
) -> None:
    runs: list[tuple[int, int]] = []

    async def handler(payload: Any, ctx: Context) -> Any:
        runs.append((ctx.attempt, ctx.fence))
        raise ValueError("no")

    await fleet.sell(sold(handler, attempts=3))
    await fleet.client.publish("work.a", 1)
    await fleet.until(lambda: len(runs) == 3, 60.0)
    await fleet.clock.advance(2.0)
    assert [attempt for attempt, _ in runs] == [1, 2, 3]
    assert [fence for _, fence in runs] == sorted({fence for _, fence in runs})
    (letter,) = await fleet.dead()
    assert (letter.reason, letter.attempts) == ("exhausted", 3)
    assert len(fleet.cluster.completed) == 3


async def test_a_dead_letter_that_is_replayed_is_auctioned_anew(fleet: AuctionFleet) -> None:
    runs: list[int] = []

    async def handler(payload: Any, ctx: Context) -> Any:
        runs.append(ctx.fence)
        return Reject("no") if len(runs) == 1 else "fine"

    await fleet.sell(sold(handler))
    task = await fleet.client.publish("work.a", 1)
    await fleet.until(lambda: len(runs) == 1, 60.0)
    await fleet.clock.advance(1.0)
    (letter,) = await fleet.dead()
    replay = fleet.bus.dead.replay("worker", letter.id, now=fleet.clock.wall())
    await fleet.within(replay)
    assert await fleet.within(_fine(fleet, task), 30.0) == "fine"
    assert len(set(runs)) == 2


async def _fine(fleet: AuctionFleet, task: Any) -> Any:
    while True:
        found = await fleet.bus.outcomes.get(task.reply, task.id)
        if found is not None and found.value is not None:
            return found.value
        await fleet.clock.sleep(0.1)


async def test_what_a_run_publishes_is_out_only_once_its_award_completed(
    fleet: AuctionFleet,
) -> None:
    """A run that loses its award publishes nothing."""
    gate = asyncio.Event()

    async def handler(payload: Any, ctx: Context) -> Any:
        await ctx.publish("next.a", {"by": ctx.fence})
        await gate.wait()

    await fleet.bus.bind("next", ["next.#"])
    await fleet.sell(sold(handler))
    task = await fleet.client.publish("work.a", 1)
    await fleet.clock.advance(2.0)
    assert await fleet.deliveries("next") == []
    gate.set()
    await fleet.within(task.result(), 20.0)
    (found,) = await fleet.deliveries("next")
    assert from_json(found.message.body)["by"] in fleet.cluster.completed.values()


async def test_a_lapsed_run_goes_on_and_its_result_is_not_accepted(fleet: AuctionFleet) -> None:
    """It is cut off from the ledger for longer than its lease; another one finishes."""
    ran: list[tuple[str, int]] = []
    gate = asyncio.Event()

    def by(name: str, score: int, *, slow: bool) -> Any:
        async def handler(payload: Any, ctx: Context) -> Any:
            ran.append((name, ctx.fence))
            if slow:
                await gate.wait()
            return name

        return sold(handler, bid=lambda _: Bid(score))

    first = await fleet.sell(by("first", 2, slow=True))
    await fleet.sell(by("second", 1, slow=False))
    task = await fleet.client.publish("work.a", 1)
    await fleet.until(lambda: bool(ran), 20.0)
    first.session.fall_silent()
    assert await fleet.within(task.result(), 30.0) == "second"
    first.session.gone_since = None
    gate.set()
    await fleet.until(lambda: first.worker.counts.lost == 1, 20.0)
    assert [name for name, _ in ran] == ["first", "second"]
    assert ran[0][1] < ran[1][1]
    found = await fleet.bus.outcomes.get(task.reply or "", task.id)
    assert found is not None
    assert found.value == "second"


async def test_each_run_has_a_number_of_its_own(fleet: AuctionFleet) -> None:
    """The parts of a result, and the runs that history shows, are told apart by it; the run that
    counts has the highest."""
    heard = await fleet.listen()
    first = await fleet.sell(sold(answering), name="first")
    fleet.crash_after = lambda member, deed: member is first and isinstance(deed, Put)
    task = await fleet.client.publish("work.a", 1)
    await fleet.until(lambda: first.gone, 20.0)
    await fleet.clock.advance(1.0)
    await fleet.sell(sold(answering), name="second")
    await fleet.within(task.result(), 60.0)
    found = await fleet.bus.outcomes.get(task.reply or "", task.id)
    assert found is not None
    await fleet.clock.advance(60.0)
    events = await heard()
    (ended,) = [event for event in events if event.kind is Kind.SUCCEEDED]
    awarded = [event for event in events if event.kind is Kind.AUCTION_AWARDED]
    assert (found.fence, found.worker) == (ended.copy, "second")
    assert ended.copy == awarded[-1].data["round"] > 1


async def test_a_worker_that_stops_releases_what_it_cannot_finish(fleet: AuctionFleet) -> None:
    """At once, and without using up an award."""
    ran: list[str] = []

    def by(name: str, score: int) -> Any:
        async def handler(payload: Any, ctx: Context) -> Any:
            ran.append(name)
            if name == "first":
                await asyncio.Event().wait()
            return name

        return sold(handler, bid=lambda _: Bid(score), max_awards=1)

    first = await fleet.sell(by("first", 2), drain=0.0)
    await fleet.sell(by("second", 1))
    task = await fleet.client.publish("work.a", 1)
    await fleet.until(lambda: ran == ["first"], 20.0)
    start = fleet.clock.monotonic()
    await fleet.stopped(first)
    assert await fleet.within(task.result(), 20.0) == "second"
    assert fleet.clock.monotonic() - start < AWARD


async def test_a_role_that_is_paused_neither_offers_nor_bids(fleet: AuctionFleet) -> None:
    member = await fleet.sell(sold(answering))
    await fleet.within(fleet.client.pause("worker"))
    await fleet.clock.advance(6.0)
    await fleet.client.publish("work.a", 1)
    await fleet.clock.advance(10.0)
    assert member.deeds == []
    assert fleet.cluster.machine.state.bidders == {}


async def test_a_cancelled_task_that_nobody_wants_ends_as_cancelled(fleet: AuctionFleet) -> None:
    await fleet.sell(sold(answering, bid=lambda _: None))
    task = await fleet.client.publish("work.a", 1)
    await fleet.clock.advance(2.0)
    await fleet.within(fleet.client.cancel(task.id))
    with pytest.raises(TaskCancelled):
        await fleet.within(task.result(), 90.0)
    assert await left(fleet) == []


async def test_a_task_whose_auction_nobody_knows_is_a_dead_letter_never_a_new_run(
    fleet: AuctionFleet,
) -> None:
    member = await fleet.sell(sold(answering, bid=lambda _: None))
    await fleet.client.publish("work.a", 1)
    await fleet.until(lambda: any(isinstance(d, Watch) for d in member.deeds), 20.0)
    (key,) = fleet.cluster.machine.state.tasks
    fleet.cluster.forget(key)
    letters: list[Any] = []
    while not letters:
        await fleet.clock.advance(1.0)
        letters = await fleet.dead()
    assert "replay it" in letters[0].error
    assert member.worker.counts.succeeded == 0


async def test_a_task_whose_awards_all_lapse_is_a_dead_letter(fleet: AuctionFleet) -> None:
    fleet.crash_after = lambda _, deed: isinstance(deed, Get)
    names = iter(range(100))
    for _ in range(2):
        await fleet.sell(sold(answering, max_awards=2), name=f"w{next(names)}")
    await fleet.client.publish("work.a", 1)
    await fleet.until(lambda: all(m.gone for m in fleet.members), 60.0)  # type: ignore[attr-defined]
    fleet.crash_after = lambda _member, _deed: False
    await fleet.sell(sold(answering, max_awards=2), name="last")
    letters: list[Any] = []
    while not letters:
        await fleet.clock.advance(1.0)
        letters = await fleet.dead()
    assert letters[0].reason == "exhausted"


async def answering(payload: Any, ctx: Context) -> Any:
    return payload


def watched(member: AuctionMember) -> bool:
    """Whether its last watch copy was forgotten."""
    return any(isinstance(deed, Forget) for deed in member.deeds)


async def left(fleet: AuctionFleet) -> list[str]:
    """What lies in the store of auctions; results that somebody asked for are another thing."""
    bodies = await fleet.bus.store.list("auction/")
    outcomes = await fleet.bus.store.list("outcome/worker.")
    return [entry.key for entry in [*bodies, *outcomes]]
