"""Roles with `delivery="once"`: a task is started at most once, whatever happens to it."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bus.errors import Full, Unreachable
from bus.settling import Policy
from contracts.outcomes import Reason, Reject, Snooze
from contracts.results import Status
from tests.bus.rooms import NOW, delivery, envelope, finished
from tests.engine.fleets import LEASE, LiveFleet, ManualFleet, Member, made
from workers.sdk.context import Context
from workers.sdk.discovery import discover


class Starts:
    """Counts how often each payload was started, then does as it says."""

    def __init__(self, fleet: ManualFleet) -> None:
        self.fleet = fleet
        self.of: Counter[str] = Counter()
        self.hangs = asyncio.Event()

    async def member(self, **options: Any) -> Member:
        """A worker of the role."""

        async def handler(payload: str, ctx: Context) -> Any:
            self.of[payload] += 1
            does: dict[str, Callable[[], Any]] = {
                "snooze": lambda: Snooze(5.0, "later"),
                "full": lambda: _raise(Full("no room")),
                "away": lambda: _raise(Unreachable("no broker")),
                "fail": lambda: _raise(ValueError("no luck")),
            }
            if payload == "hang":
                await self.hangs.wait()
            return does.get(payload, lambda: f"did {payload}")()

        return await self.fleet.start(made(handler, delivery="once", **options))

    async def publish(self, payload: str, **options: Any) -> Any:
        """A task that does so."""
        return await self.fleet.client.publish("work.a", payload, **options)


def _raise(error: Exception) -> None:
    raise error


@pytest.fixture
def starts(fleet: ManualFleet) -> Starts:
    return Starts(fleet)


@pytest.mark.promise(25)
async def test_what_succeeds_was_started_once(fleet: ManualFleet, starts: Starts) -> None:
    await starts.member()
    task = await starts.publish("x")
    assert await fleet.within(task.result()) == "did x"
    assert starts.of == {"x": 1}


@pytest.mark.promise(25)
@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("snooze", Reason.REJECTED),
        ("full", Reason.REJECTED),
        ("away", Reason.EXHAUSTED),
        ("fail", Reason.EXHAUSTED),
    ],
)
async def test_whatever_a_run_comes_to_it_is_the_only_one(
    fleet: ManualFleet, starts: Starts, payload: str, reason: Reason
) -> None:
    """What would be run again elsewhere is a dead letter that says why."""
    await starts.member()
    task = await starts.publish(payload)
    end = await fleet.within(task.outcome())
    await fleet.clock.advance(30.0)
    assert (end.status, end.reason, starts.of) == (Status.FAILED, reason, {payload: 1})
    (letter,) = await fleet.dead()
    assert letter.attempts == 1


@pytest.mark.promise(25)
@pytest.mark.parametrize("reply", [True, False])
async def test_a_worker_that_dies_after_the_start_leaves_a_dead_letter_of_a_crash(
    fleet: ManualFleet, starts: Starts, reply: bool
) -> None:
    """And no second run, until somebody decides that there shall be one."""
    first = await starts.member()
    task = await starts.publish("hang", reply=reply)
    await fleet.until(lambda: starts.of["hang"] == 1)
    await first.crash()
    second = await starts.member()
    await fleet.until(lambda: bool(second.worker.counts.failed) or _dead(fleet), 4 * LEASE)
    (letter,) = await fleet.dead()
    assert (letter.reason, starts.of) == (Reason.CRASH, {"hang": 1})
    assert "which did not say how it ended" in letter.error
    if reply:
        assert (await fleet.within(task.outcome())).reason is Reason.CRASH
    starts.hangs.set()
    await fleet.within(fleet.client.retry(task.id))
    await fleet.until(lambda: starts.of["hang"] == 2)
    await fleet.clock.advance(60.0)
    assert starts.of == {"hang": 2}
    assert await fleet.dead() == []


def _dead(fleet: ManualFleet) -> bool:
    return any(key.startswith("dead/") for key in fleet.broker.store._entries)


@pytest.mark.promise(25)
async def test_what_a_dying_worker_had_not_started_is_started_once_by_another(
    fleet: ManualFleet, starts: Starts
) -> None:
    """Nothing is lost for fear of starting it twice."""
    first = await starts.member(concurrency=1)
    tasks = [await starts.publish(payload) for payload in ("hang", "a", "b")]
    await fleet.until(lambda: starts.of["hang"] == 1)
    await first.crash()
    await starts.member(concurrency=1)
    ends = [await fleet.within(task.outcome(), 6 * LEASE) for task in tasks]
    assert [end.status for end in ends] == [Status.FAILED, Status.SUCCEEDED, Status.SUCCEEDED]
    assert starts.of == {"hang": 1, "a": 1, "b": 1}


@pytest.mark.promise(25)
async def test_a_drain_that_cuts_it_off_does_not_hand_it_back(
    fleet: ManualFleet, starts: Starts
) -> None:
    """Its handler was called; that it was stopped does not undo what it has done."""
    first = await starts.member()
    task = await starts.publish("hang")
    await fleet.until(lambda: starts.of["hang"] == 1)
    await fleet.stopped(first)
    await starts.member()
    end = await fleet.within(task.outcome())
    assert (end.reason, starts.of) == (Reason.CRASH, {"hang": 1})
    assert "its worker stopped while it ran" in end.error


@pytest.mark.promise(25)
@pytest.mark.parametrize("reply", [True, False])
async def test_a_broker_that_hands_it_out_again_after_its_end_starts_nothing(
    fleet: ManualFleet, starts: Starts, reply: bool
) -> None:
    """The end stays what it was: no dead letter, and the result of the run."""
    member = await starts.member()
    fleet.broker.faults.duplicate()
    task = await starts.publish("x", reply=reply)
    await fleet.until(lambda: member.worker.counts.succeeded == 2, 30.0)
    assert (starts.of, await fleet.dead()) == ({"x": 1}, [])
    if reply:
        assert await fleet.within(task.result()) == "did x"


@pytest.mark.promise(25)
async def test_what_is_published_again_long_after_is_not_started_again(
    fleet: ManualFleet, starts: Starts
) -> None:
    """Far outside the window within which the broker itself knows a repetition."""
    member = await starts.member()
    task = await starts.publish("x", key="k", key_for=1.0)
    assert await fleet.within(task.result()) == "did x"
    await fleet.clock.advance(150.0)
    again = await starts.publish("x", key="k", key_for=1.0)
    assert (again.id, again.repeated) == (task.id, False)
    await fleet.until(lambda: member.worker.counts.succeeded == 2, 30.0)
    assert starts.of == {"x": 1}


async def test_what_is_published_again_while_it_runs_waits_for_its_end(
    fleet: ManualFleet, starts: Starts
) -> None:
    member = await starts.member(timeout=3600.0)
    task = await starts.publish("hang", key="k", key_for=1.0)
    await fleet.until(lambda: starts.of["hang"] == 1)
    await fleet.clock.advance(150.0)
    await starts.publish("hang", key="k", key_for=1.0)
    await fleet.until(lambda: member.worker.counts.again == 1)
    starts.hangs.set()
    assert await fleet.within(task.result()) == "did hang"
    await fleet.until(lambda: member.worker.counts.succeeded == 2, 30.0)
    assert (starts.of, await fleet.dead()) == ({"hang": 1}, [])


async def test_it_is_forgotten_when_the_role_says(fleet: ManualFleet, starts: Starts) -> None:
    await starts.member(once_for=100.0, timeout=10.0)
    task = await starts.publish("x", key="k", key_for=1.0)
    await fleet.within(task.result())
    assert len(await fleet.bus.store.list("once/")) == 1
    await fleet.clock.advance(200.0)
    assert await fleet.bus.store.list("once/") == []


async def test_what_did_not_begin_has_no_claim(fleet: ManualFleet, starts: Starts) -> None:
    """A payload that does not fit, a deadline that has passed."""

    async def picky(payload: int, ctx: Context) -> int:
        return payload

    await fleet.start(made(picky, delivery="once"))
    end = await fleet.within((await starts.publish("x")).outcome())
    assert end.reason is Reason.INVALID
    assert await fleet.bus.store.list("once/") == []


async def test_a_cancelled_run_is_cancelled_and_not_started_again(
    fleet: ManualFleet, starts: Starts
) -> None:
    await starts.member()
    task = await starts.publish("hang")
    await fleet.until(lambda: starts.of["hang"] == 1)
    await fleet.within(task.cancel("enough"))
    assert (await fleet.within(task.outcome())).status is Status.CANCELLED
    assert (starts.of, await fleet.dead()) == ({"hang": 1}, [])


@pytest.mark.promise(25)
async def test_in_a_process_of_its_own_it_does_not_begin_before_it_is_claimed(
    tmp_path: Path,
) -> None:
    """The child has imported its role and waits: here it meets the end of a run before it."""
    fleet = LiveFleet(5.0)
    said = tmp_path / "said.txt"
    single = discover([Path(__file__).with_name("apart.py")])["single"]
    async with fleet.running(single, drain=0.2):
        for number, claimed in enumerate((True, False)):
            file = {"what": "echo", "value": number, "file": str(said)}
            task = await fleet.client.publish("single.x", file, delay=0.2)
            claims = fleet.client.bus.claims
            if claimed:
                given = envelope(task.id)
                claim = await claims.take("single", given, worker="w", now=NOW, ttl=60.0)
                end = finished(Reject("it is done"), task=given, of=delivery(given, group="single"))
                await claims.end(replace(end, claim=claim, policy=Policy(1, once=60.0)))
            found = await task.outcome(20.0)
            expected = (Status.FAILED, "it is done") if claimed else (Status.SUCCEEDED, "")
            assert (found.status, found.error) == expected
            assert said.exists() is not claimed
