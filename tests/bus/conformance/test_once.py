"""Claims of tasks that may be started once, taken by several processes in one store."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from bus.bus import Bus
from bus.claiming import Claims
from bus.claims import Claim
from bus.errors import Unreachable
from bus.keyvalue.protocol import KeyValue, Revision
from bus.settling import Finished, Policy
from contracts.envelope import REPLAYED, Envelope
from contracts.outcomes import Cancelled, Done, Outcome, Reason, Reject, Retry
from tests.bus.conformance.harness import World
from tests.bus.rooms import NOW, envelope, finished

TTL = 60.0


class LosesAnswers:
    """A store that writes and does not say so, the first time."""

    def __init__(self, store: KeyValue) -> None:
        self._store = store
        self.lost = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def put(self, key: str, value: bytes, **how: Any) -> Revision:
        """Written; the first answer is lost."""
        revision = await self._store.put(key, value, **how)
        if not self.lost:
            self.lost += 1
            raise Unreachable("the answer was lost")
        return revision


async def claims(world: World, *, loses: bool = False) -> Claims:
    """The claims of one more process."""
    store: Any = await world.keyvalue()
    if loses:
        store = LosesAnswers(store)
    return Bus(await world.backend(), store, clock=world.clock).claims


async def take(process: Claims, task: Envelope, worker: str = "w1") -> Claim:
    """A claim for this worker."""
    return await process.take("g", task, worker=worker, now=NOW, ttl=TTL)


def end_of(task: Envelope, claim: Claim, outcome: Outcome) -> Finished:
    """How a run that had this claim ended."""
    end = finished(outcome, task=task, attempts=1)
    return replace(end, claim=claim, policy=Policy(attempts=1, once=TTL))


@pytest.mark.promise(25)
async def test_of_many_who_claim_a_task_one_has_it(world: World) -> None:
    """And the others know who."""
    task = envelope()

    async def all_of_them() -> list[Claim]:
        processes = [await claims(world) for _ in range(4)]
        takes = [take(p, task, f"w{n}") for n, p in enumerate(processes) for _ in range(5)]
        return await asyncio.gather(*takes)

    found = await world.within(20.0, all_of_them())
    (mine,) = (claim for claim in found if claim.mine)
    assert {(claim.by, claim.worker, claim.end) for claim in found} == {
        (mine.by, mine.worker, None)
    }


@pytest.mark.promise(25)
async def test_who_does_not_hear_that_a_claim_is_theirs_has_it_all_the_same(world: World) -> None:
    """Else a task nobody has begun would be taken for one that crashed."""

    async def twice() -> tuple[Claim, Claim]:
        deaf, other = await claims(world, loses=True), await claims(world)
        return await take(deaf, envelope()), await take(other, envelope())

    first, second = await world.within(20.0, twice())
    assert (first.mine, second.mine, second.by) == (True, False, first.by)


@pytest.mark.promise(25)
@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (Done(b'{"a":[1,"\\u00e9"]}'), Done(b'{"a":[1,"\\u00e9"]}')),
        (Reject("no", Reason.INVALID, "why"), Reject("no", Reason.INVALID, "why")),
        (Retry(3.0, "failed", Reason.TIMEOUT), Reject("failed", Reason.TIMEOUT)),
        (Cancelled("enough"), Cancelled("enough")),
    ],
)
async def test_who_meets_a_claim_later_learns_how_it_ended(
    world: World, outcome: Outcome, told: Outcome
) -> None:
    async def scenario() -> Claim:
        task = envelope(reply="me")
        one, other = await claims(world), await claims(world)
        ended = end_of(task, await take(one, task), outcome)
        assert await one.end(ended) == ended
        return await take(other, task)

    met = await world.within(20.0, scenario())
    assert (met.mine, met.end) == (False, told)


@pytest.mark.promise(25)
async def test_the_first_end_is_the_end(world: World) -> None:
    """Of a run that went on although others took it for dead, and of who declared it so."""

    async def scenario() -> tuple[Finished, Finished, Finished]:
        task = envelope()
        one, other = await claims(world), await claims(world)
        claim = await take(one, task)
        met = await take(other, task)
        crash = Reject("it crashed", Reason.CRASH)
        declared = await other.end(end_of(task, met, crash))
        late = await one.end(end_of(task, claim, Done()))
        again = await other.end(end_of(task, met, Done()))
        return declared, late, again

    declared, late, again = await world.within(20.0, scenario())
    assert declared.outcome == late.outcome == again.outcome == Reject("it crashed", Reason.CRASH)


@pytest.mark.promise(25)
async def test_an_end_whose_answer_was_lost_is_the_end(world: World) -> None:
    async def scenario() -> tuple[Finished, Claim | None]:
        task = envelope()
        one = await claims(world)
        claim = await take(one, task)
        deaf = await claims(world, loses=True)
        return await deaf.end(end_of(task, claim, Done())), await one.get("g", task)

    ended, there = await world.within(20.0, scenario())
    assert ended.outcome == Done()
    assert there is not None
    assert there.end == Done()


async def test_what_somebody_gives_back_has_a_claim_of_its_own(world: World) -> None:
    """A replay is a decision to start it once more."""

    async def scenario() -> list[bool]:
        one = await claims(world)
        replayed = [envelope(extra={REPLAYED: stamp}) for stamp in ("7.5", "8.5", "7.5")]
        return [(await take(one, task)).mine for task in (envelope(), *replayed)]

    assert await world.within(20.0, scenario()) == [True, True, True, False]


async def test_another_group_and_another_task_have_claims_of_their_own(world: World) -> None:
    async def scenario() -> list[bool]:
        one = await claims(world)
        other = await one.take("h", envelope(), worker="w", now=NOW, ttl=TTL)
        return [
            (await take(one, envelope())).mine,
            other.mine,
            (await take(one, envelope("a/b"))).mine,
        ]

    assert await world.within(20.0, scenario()) == [True, True, True]
