"""Each rule of the steps, broken on purpose: the same runs that the real steps pass find it."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest

from consensus.ledger.commands import Complete, Open
from contracts.auctions import AuctionError, Won
from tests.auctions.fleets import AuctionFleet, sold
from tests.auctions.test_end_to_end import left
from workers.auctions import source
from workers.auctions.deeds import Forget, Get, Publish, Put, PutNew, Run, Say, Step, Watch
from workers.auctions.steps import Steps, body_at, outcome_at, spec_of
from workers.sdk.context import Context

POINTS = range(1, 13)
"""After so many deeds the first worker is gone."""


async def following(payload: Any, ctx: Context) -> Any:
    await ctx.publish("next.a", {"by": ctx.fence})
    return {"by": ctx.fence}


async def broken_promises(point: int) -> set[str]:
    """What is not kept when the first of two workers is gone after so many deeds."""
    fleet = AuctionFleet()
    try:
        await fleet.bus.bind("next", ["next.#"])
        fleet.crash_after = lambda m, _: m.name == "first" and len(m.deeds) == point
        first = await fleet.sell(sold(following), name="first")
        task = await fleet.client.publish("work.a", 1)
        await fleet.clock.advance(1.0)
        early = await _judged(fleet, task) if first.gone else set()
        await fleet.sell(sold(following), name="second")
        await fleet.clock.advance(60.0)
        broken = await _judged(fleet, task)
        if first.gone and await left(fleet):
            broken.add("nothing is left")
        return broken | (early - {"no task is lost"})
    finally:
        await fleet.close()


async def _judged(fleet: AuctionFleet, task: Any) -> set[str]:
    broken: set[str] = set()
    found = await fleet.bus.outcomes.get(task.reply, task.id)
    completed = set(fleet.cluster.completed.values())
    if found is None or found.value is None:
        broken.add("no task is lost")
    elif found.value["by"] not in completed:
        broken.add("no result of a lapsed award")
    if len(await fleet.deliveries("next")) > 1:
        broken.add("one result")
    return broken


@pytest.mark.parametrize("point", POINTS)
async def test_the_steps_keep_every_promise(point: int) -> None:
    assert await broken_promises(point) == set()


class PublishesBeforeComplete(Steps):
    """What was made is out, whether or not its award completes."""

    def finish(self, key: str, token: int, outcome: bytes) -> Step:
        yield Put(outcome_at(key, token), outcome)
        yield Publish(key, outcome)
        try:
            yield Say(Complete(key, token, sha256(outcome).digest()))
        except AuctionError:
            return False
        return True


class CompletesBeforePut(Steps):
    """A completed task has no outcome for a moment."""

    def finish(self, key: str, token: int, outcome: bytes) -> Step:
        yield Say(Complete(key, token, sha256(outcome).digest()))
        yield Put(outcome_at(key, token), outcome)
        yield from self.publish(key, token, outcome)
        return True


class LeavesNoWatchCopy(Steps):
    """Nobody looks after a task whose winner is gone."""

    def offer(self, key: str, body: bytes) -> Step:
        for deed in _given(super().offer(key, body)):
            yield Forget() if isinstance(deed, Watch) else deed
        return True


class OpensBeforeTheBody(Steps):
    """A winner finds no task to run."""

    def offer(self, key: str, body: bytes) -> Step:
        terms = self.terms
        numbers = (terms.window_ms, terms.lease_ms, terms.max_awards)
        yield Say(Open(key, terms.role, *numbers, spec_of(body)))
        yield Watch(key, 1.0)
        yield PutNew(body_at(key), body)
        return True


class RunsUnsure(Steps):
    """Runs what it won without asking whether it still has it, and publishes without completing."""

    def won(self, won: Won) -> Step:
        body = yield Get(body_at(won.key))
        outcome = yield Run(won, body)
        yield Publish(won.key, outcome)
        return True


def _given(step: Step) -> Iterator[Any]:
    """The deeds of a step that is answered with nothing."""
    return iter(step)


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (PublishesBeforeComplete, "no result of a lapsed award"),
        (CompletesBeforePut, "no task is lost"),
        (LeavesNoWatchCopy, "no task is lost"),
        (OpensBeforeTheBody, "no task is lost"),
        (RunsUnsure, "no result of a lapsed award"),
    ],
)
async def test_a_broken_rule_is_found(
    broken: type[Steps], promise: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "Steps", broken)
    found: set[str] = set()
    for point in POINTS:
        found |= await broken_promises(point)
        if promise in found:
            return
    pytest.fail(f"nobody noticed; found {found or 'nothing'}")
