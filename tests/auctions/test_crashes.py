"""Worker processes that are gone at each point of an auction: another one finishes, and what was
made is published if and only if its award completed."""

import asyncio
from typing import Any

import pytest
from pydantic_core import from_json

from contracts.outcomes import Retry
from tests.auctions.fleets import AuctionFleet, sold
from tests.auctions.test_end_to_end import left, watched
from workers.auctions.deeds import Deed, Publish, Run, Say
from workers.sdk.context import Context

DEEDS = 12
"""What one worker does for one task: offering 3, winning 7, its watch copy 3, at least."""


async def following(payload: Any, ctx: Context) -> Any:
    await ctx.publish("next.a", {"by": ctx.fence})
    return {"by": ctx.fence}


async def settled(fleet: AuctionFleet, task: Any) -> int:
    """The token of the award whose result was published; everything has come to its end."""
    found: dict[str, int] = await fleet.within(task.result(), 120.0)
    for _ in range(300):
        if not await left(fleet):
            break
        await fleet.clock.advance(1.0)
    assert await left(fleet) == []
    return found["by"]


@pytest.mark.parametrize("point", range(1, DEEDS + 1))
async def test_a_process_that_is_gone_after_any_deed_leaves_one_result(
    fleet: AuctionFleet, point: int
) -> None:
    await fleet.bus.bind("next", ["next.#"])
    fleet.crash_after = lambda member, _: member.name == "first" and len(member.deeds) == point
    await fleet.sell(sold(following), name="first")
    task = await fleet.client.publish("work.a", 1)
    await fleet.clock.advance(1.0)
    await fleet.sell(sold(following), name="second")
    token = await settled(fleet, task)
    assert fleet.cluster.completed == {f"worker.{task.id}.0": token}
    follow_ups = await fleet.deliveries("next")
    assert [from_json(one.message.body)["by"] for one in follow_ups] == [token]
    assert await fleet.dead() == []


@pytest.mark.parametrize("point", range(1, DEEDS + 1))
async def test_a_retry_is_not_lost_at_any_point(fleet: AuctionFleet, point: int) -> None:
    """What follows a failed run is an outcome like any other."""

    async def handler(payload: Any, ctx: Context) -> Any:
        return Retry(0.1, "again") if ctx.attempt == 1 else {"by": ctx.fence}

    fleet.crash_after = lambda member, _: member.name == "first" and len(member.deeds) == point
    await fleet.sell(sold(handler), name="first")
    task = await fleet.client.publish("work.a", 1)
    await fleet.clock.advance(1.0)
    await fleet.sell(sold(handler), name="second")
    token = await settled(fleet, task)
    assert max(fleet.cluster.completed.values()) == token
    assert len(fleet.cluster.completed) == 2


@pytest.mark.parametrize("pair", [(3, 4), (5, 6), (6, 8), (8, 3), (7, 7)])
async def test_two_processes_may_go_one_after_the_other(
    fleet: AuctionFleet, pair: tuple[int, int]
) -> None:
    points = dict(zip(("first", "second"), pair, strict=True))
    fleet.crash_after = lambda member, _: points.get(member.name) == len(member.deeds)
    for name in points:
        await fleet.sell(sold(following), name=name)
    task = await fleet.client.publish("work.a", 1)
    await fleet.clock.advance(20.0)
    await fleet.sell(sold(following), name="third")
    token = await settled(fleet, task)
    assert fleet.cluster.completed == {f"worker.{task.id}.0": token}


async def test_the_steps_do_what_these_points_suppose(fleet: AuctionFleet) -> None:
    member = await fleet.sell(sold(following))
    task = await fleet.client.publish("work.a", 1)
    await settled(fleet, task)
    await fleet.until(lambda: watched(member), 60.0)
    names = [_named(deed) for deed in member.deeds if _named(deed) != "See"]
    assert names[:3] == ["PutNew", "Open", "Watch"]
    assert names[3:] == [
        *("Renew", "Get", "Run", "Put", "Complete", "Publish", "Delete", "Delete"),
        *("Get", "Delete", "Forget"),
    ]


def _named(deed: Deed) -> str:
    return type(deed.command if isinstance(deed, Say) else deed).__name__


async def test_a_run_that_loses_its_award_is_cut_off(fleet: AuctionFleet) -> None:
    """What was planned against: two live runs of one key."""
    cut: list[str] = []

    async def handler(payload: Any, ctx: Context) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cut.append(ctx.id)
            raise

    member = await fleet.sell(sold(handler))
    task = await fleet.client.publish("work.a", 1)
    await fleet.until(lambda: member.worker.running == 1, 20.0)
    ((key, token),) = ((won.won.key, won.won.token) for won in member.source.awards.all())
    await fleet.within(member.session.release(key, token))
    await fleet.until(lambda: cut == [task.id], 20.0)
    assert not any(isinstance(deed, Publish) for deed in member.deeds)
    assert any(isinstance(deed, Run) for deed in member.deeds)
