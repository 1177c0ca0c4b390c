"""What history and the logs are told of auctions."""

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic_core import from_json

from contracts.events import Event, Kind
from tests.auctions.fleets import AuctionFleet, sold
from tests.auctions.test_end_to_end import answering
from workers.sdk.bids import Bid


def of(kind: Kind, events: Sequence[Event]) -> list[Event]:
    return [event for event in events if event.kind is kind]


async def test_history_hears_who_was_asked_and_why_who_got_it(fleet: AuctionFleet) -> None:
    heard = await fleet.listen()
    best = sold(answering, bid=lambda _: Bid(9, 5, {"mood": "fine"}))
    await fleet.sell(best, name="best")
    await fleet.sell(sold(answering, bid=lambda _: None), name="unwilling")
    task = await fleet.client.publish("work.a", 1)
    await fleet.within(task.result(), 20.0)
    events = await heard()
    (opened,) = of(Kind.AUCTION_OPENED, events)
    assert opened.data == {"key": f"worker.{task.id}.0"}
    (awarded,) = of(Kind.AUCTION_AWARDED, events)
    (token,) = fleet.cluster.completed.values()
    assert (awarded.worker, awarded.number, awarded.data["token"]) == ("best", token, token)
    bids = {bid["worker"]: bid for bid in from_json(awarded.data["bids"])}
    assert bids["best"]["parts"] == {"mood": "fine"}
    assert (bids["best"]["score"], bids["best"]["cost"]) == (9, 5)
    assert bids["unwilling"]["passed"]
    assert bids["unwilling"]["parts"] == {"why": "not wanted"}


async def test_whoever_tells_of_an_award_tells_the_same(fleet: AuctionFleet) -> None:
    """The worker that offered the task, and whoever had a watch copy: one event in history."""
    heard = await fleet.listen()
    for name in ("a", "b"):
        await fleet.sell(sold(answering), name=name)
    task = await fleet.client.publish("work.a", 1)
    await fleet.within(task.result(), 20.0)
    await fleet.clock.advance(60.0)
    awarded = of(Kind.AUCTION_AWARDED, await heard())
    assert len({event.id for event in awarded}) == 1


async def test_rounds_that_come_to_nothing_are_told_and_warned_of(
    fleet: AuctionFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    heard = await fleet.listen()
    await fleet.sell(sold(answering, bid=lambda _: None), name="unwilling")
    await fleet.client.publish("work.a", 1)
    await fleet.clock.advance(120.0)
    closed = of(Kind.AUCTION_CLOSED, await heard())
    assert closed
    told: list[Any] = from_json(closed[0].data["bids"])
    assert [(bid["worker"], bid["passed"]) for bid in told] == [("unwilling", True)]
    assert "no bidder for worker since" in capsys.readouterr().out


async def test_nobody_is_warned_of_where_tasks_are_done(
    fleet: AuctionFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    await fleet.sell(sold(answering))
    for number in range(5):
        task = await fleet.client.publish("work.a", number)
        assert await fleet.within(task.result(), 20.0) == number
        await fleet.clock.advance(20.0)
    assert "no bidder" not in capsys.readouterr().out
