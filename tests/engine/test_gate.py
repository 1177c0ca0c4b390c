"""Limited tasks: when they start, how often they are put off, and what that costs."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from bus.backend import Message
from bus.buckets import Bucket
from bus.keyvalue.memory import MemoryKeyValue
from bus.limits import LATE, mark, written
from bus.places import MOST_WAITING
from bus.scopes import Scopes
from bus.settling import to_message
from contracts.envelope import Envelope
from contracts.events import Kind
from contracts.limits import Limit
from contracts.outcomes import Reason
from tests.bus.test_buckets import most_in_a_window
from tests.engine.fleets import LEASE, ManualFleet, made
from workers.engine import gate
from workers.fleet.client import Task
from workers.fleet.options import Options
from workers.sdk.context import Context
from workers.sdk.role import Role


class Runs:
    """When tasks started, by whom, and how many ran at once."""

    def __init__(self, fleet: ManualFleet, seconds: float = 0.0) -> None:
        self.starts: list[tuple[float, str]] = []
        self.attempts: Counter[int] = Counter()
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self._fleet = fleet
        self._seconds = seconds

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.starts]

    def role(self, **options: Any) -> Role:
        """A role whose runs are noted here."""

        async def handler(payload: dict[str, Any], ctx: Context) -> float:
            return await self._run(payload, ctx)

        return made(handler, **options)

    async def _run(self, payload: dict[str, Any], ctx: Context) -> float:
        who = str(payload.get("who", ""))
        now = self._fleet.clock.wall()
        self.starts.append((now, who))
        self.attempts[ctx.attempt] += 1
        self.running[who] += 1
        self.most[who] = max(self.most[who], self.running[who])
        await self._fleet.clock.sleep(self._seconds)
        self.running[who] -= 1
        return now


async def published(
    fleet: ManualFleet, count: int, *, tenant: str = "default", **payload: Any
) -> list[Task]:
    """So many tasks."""
    tasks = [("work.a", payload)] * count
    return await fleet.within(fleet.client.publish_many(tasks, Options(tenant=tenant)))


async def ended(fleet: ManualFleet, tasks: Sequence[Task], seconds: float = 600.0) -> None:
    """All of them have ended well."""

    async def results() -> None:
        await asyncio.gather(*[task.result() for task in tasks])

    await fleet.within(results(), seconds)


def check_rate(times: Sequence[float], rate: float, burst: int) -> None:
    """What a limit promises; manual time moves in steps of 0.05 s."""
    for seconds in (0.5, 1.0, 3.0):
        assert most_in_a_window(times, seconds - 0.051) <= burst + seconds * rate + 1e-6


async def test_a_limited_role_starts_at_its_rate_and_puts_each_task_off_once(
    fleet: ManualFleet,
) -> None:
    """Two workers; no attempt is used, the rate is reached, and no window has more."""
    runs = Runs(fleet)
    heard = await fleet.listen()
    role = runs.role(limits=[Limit(rate="10/s", burst=5)])
    await fleet.start(role)
    await fleet.start(role)
    tasks = await published(fleet, 100)
    await ended(fleet, tasks, 30.0)
    check_rate(runs.times, 10.0, 5)
    assert max(runs.times) - min(runs.times) <= 9.5 + 0.3
    events = await heard()
    put_off = Counter(event.task for event in events if event.kind is Kind.SNOOZED)
    assert set(put_off.values()) == {1}
    assert 80 <= len(put_off) <= 95, "who may start soon waits without being put off"
    assert runs.attempts == {1: 100}


async def test_a_gate_that_asks_again_would_be_caught(
    fleet: ManualFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checks above can fail: here what comes back has forgotten its slot."""
    monkeypatch.setattr(gate, "held", lambda *_: {})
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await test_a_limited_role_starts_at_its_rate_and_puts_each_task_off_once(fleet)


async def test_a_gate_that_lets_all_pass_would_be_caught(
    fleet: ManualFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checks above can fail: here the rate is ten times as high as it says."""
    monkeypatch.setattr(Bucket, "tolerance", property(lambda _: 5.0))
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await test_a_limited_role_starts_at_its_rate_and_puts_each_task_off_once(fleet)


async def test_what_waits_for_its_limits_is_not_shown_as_running(fleet: ManualFleet) -> None:
    """It waits in its worker, which has it in its hands."""
    runs = Runs(fleet, 5.0)
    member = await fleet.start(runs.role(concurrency=4, limits=[Limit(concurrency=1)]))
    tasks = await published(fleet, 3)
    await fleet.until(lambda: len(member.worker._runs) == 3 and bool(runs.starts))
    assert member.worker.running == 1
    await ended(fleet, tasks)


async def test_a_field_of_the_payload_has_its_own_limit(fleet: ManualFleet) -> None:
    """One customer's backlog delays no other's task."""
    runs = Runs(fleet)
    await fleet.start(runs.role(limits=[Limit(rate="1/s", by="payload.who")]))
    start = fleet.clock.wall()
    many = await published(fleet, 20, who="many")
    few = await published(fleet, 2, who="few")
    await ended(fleet, few)
    assert fleet.clock.wall() < start + 2.5
    await ended(fleet, many)
    check_rate([at for at, who in runs.starts if who == "many"], 1.0, 1)
    assert fleet.clock.wall() >= start + 19.0


async def test_all_limits_of_a_task_hold_and_a_narrow_one_wastes_no_slot_of_a_wide_one(
    fleet: ManualFleet,
) -> None:
    """One tenant's backlog takes no slots of the role before it can use them."""
    fleet.tenants = {"slow": Limit(rate="1/s"), "*": Limit(rate="1000/s")}
    runs = Runs(fleet)
    heard = await fleet.listen()
    await fleet.start(runs.role(limits=[Limit(rate="1/s", by="tenant"), Limit(rate="2/s")]))
    start = fleet.clock.wall()
    slow = await published(fleet, 20, tenant="slow", who="slow")
    others = [await published(fleet, 1, tenant=f"t{n}", who="other") for n in range(10)]
    await ended(fleet, [task for (task,) in others])
    assert fleet.clock.wall() <= start + 12.0
    await ended(fleet, slow)
    check_rate(runs.times, 2.0, 1)
    check_rate([at for at, who in runs.starts if who == "slow"], 1.0, 2)
    put_off = Counter(event.task for event in await heard() if event.kind is Kind.SNOOZED)
    assert max(put_off.values()) <= 3, "at most once for each rate"


async def test_what_comes_late_takes_a_new_slot(fleet: ManualFleet) -> None:
    """The fleet was away while slots passed: what piled up starts at the rate, not at once."""
    runs = Runs(fleet)
    role = runs.role(limits=[Limit(rate="2/s")])
    member = await fleet.start(role)
    tasks = await published(fleet, 20)
    await fleet.until(lambda: len(runs.starts) == 1)
    await fleet.clock.advance(1.0)
    await fleet.stopped(member)
    await fleet.clock.advance(60.0)
    before = len(runs.starts)
    await fleet.start(role)
    await ended(fleet, tasks)
    check_rate(runs.times[before:], 2.0, 1)
    assert runs.attempts == {1: 20}


async def test_a_slot_that_has_just_passed_is_used(fleet: ManualFleet) -> None:
    """Lateness of a broker costs no second turn; one that passed long ago is none."""
    runs = Runs(fleet)
    await fleet.start(runs.role(limits=[Limit(rate="1/min")]))
    await ended(fleet, await published(fleet, 1))
    (scope,) = Scopes("worker", [Limit(rate="1/min")]).of(envelope(fleet))
    for late, starts in ((LATE - 0.5, 2), (LATE + 0.5, 2)):
        slot = written({mark(scope): fleet.clock.wall() - late})
        task = replace(envelope(fleet), id=f"late{late}", copy=1, reserved=slot)
        await fleet.within(fleet.bus._backend.publish([to_message(task, group="worker")]))
        await fleet.clock.advance(0.4)
        assert len(runs.starts) == starts


async def test_a_slot_that_was_not_reserved_here_is_none(fleet: ManualFleet) -> None:
    """A publisher's own header lets nobody pass: on a first copy it says nothing."""
    runs = Runs(fleet)
    await fleet.start(runs.role(limits=[Limit(rate="1/min")]))
    await ended(fleet, await published(fleet, 1))
    (scope,) = Scopes("worker", [Limit(rate="1/min")]).of(envelope(fleet))
    forged = f"0;{written({mark(scope): fleet.clock.wall()})}"
    message = to_message(envelope(fleet), group=None)
    headers = {**message.headers, "muster-reserved": forged}
    await fleet.within(fleet.bus._backend.publish([replace_headers(message, headers)]))
    await fleet.clock.advance(30.0)
    assert len(runs.starts) == 1
    await fleet.clock.advance(31.0)
    assert len(runs.starts) == 2


def envelope(fleet: ManualFleet) -> Envelope:
    """A task on the role's topic."""
    return Envelope(id="t1", topic="work.a", source="/t", time=fleet.clock.wall(), body=b"{}")


def replace_headers(message: Message, headers: dict[str, str]) -> Message:
    """The same with other headers."""
    return replace(message, headers=headers)


async def test_a_stopping_worker_gives_back_what_waits_and_it_keeps_its_slot(
    fleet: ManualFleet,
) -> None:
    """It does not wait for the drain; nothing is put off again."""
    runs = Runs(fleet)
    heard = await fleet.listen()
    role = runs.role(limits=[Limit(rate="2/s")])
    member = await fleet.start(role, drain=60.0)
    start = fleet.clock.wall()
    tasks = await published(fleet, 3)
    await fleet.until(lambda: len(runs.starts) == 1)
    await fleet.stopped(member)
    assert fleet.clock.wall() < start + 0.5
    await fleet.start(role)
    await ended(fleet, tasks)
    assert fleet.clock.wall() <= start + 1.3
    assert [event for event in await heard() if event.kind is Kind.SNOOZED] == []
    assert runs.attempts == {1: 3}


async def test_at_most_so_many_run_at_once_over_all_workers(fleet: ManualFleet) -> None:
    """By the value of a field; runs outlast their lease; all places are used."""
    runs = Runs(fleet, seconds=LEASE * 1.5)
    role = runs.role(limits=[Limit(concurrency=3, by="payload.who")])
    for _ in range(3):
        await fleet.start(role)
    start = fleet.clock.wall()
    ones, others = await published(fleet, 9, who="one"), await published(fleet, 3, who="other")
    await ended(fleet, [*ones, *others])
    assert runs.most == {"one": 3, "other": 3}
    assert fleet.clock.wall() <= start + 3 * LEASE * 1.5 + 3.0
    assert runs.attempts == {1: 12}


async def test_a_place_of_a_dead_worker_is_free_again(
    fleet: ManualFleet,
) -> None:
    """Its process was killed: nothing is given back, and nothing renewed."""
    runs = Runs(fleet, seconds=1.0)
    role = runs.role(concurrency=1, limits=[Limit(concurrency=1)])
    dead = await fleet.start(role)
    first = await published(fleet, 1)
    await fleet.until(lambda: len(runs.starts) == 1)
    await dead.crash()
    await fleet.start(role)
    second = await published(fleet, 1)
    died = fleet.clock.wall()
    await fleet.until(lambda: len(runs.starts) >= 2)
    assert fleet.clock.wall() <= died + LEASE + 2.0
    await ended(fleet, [*first, *second])


async def test_more_than_can_wait_are_put_off_without_an_attempt(fleet: ManualFleet) -> None:
    """And end all the same; places do not stay unused."""
    runs = Runs(fleet, seconds=0.1)
    heard = await fleet.listen()
    count = MOST_WAITING + 50
    await fleet.start(runs.role(limits=[Limit(concurrency=5)]))
    start = fleet.clock.wall()
    await ended(fleet, await published(fleet, count))
    assert runs.most[""] <= 5
    put_off = [event for event in await heard() if event.kind is Kind.SNOOZED]
    assert put_off
    assert len(put_off) <= 500, "nobody asks all the time"
    assert runs.attempts == {1: count}
    assert fleet.clock.wall() - start <= count / 5 * 0.25


async def test_a_task_whose_deadline_passes_while_it_waits_does_not_start(
    fleet: ManualFleet,
) -> None:
    runs = Runs(fleet, seconds=30.0)
    await fleet.start(runs.role(limits=[Limit(concurrency=1)]))
    await published(fleet, 1)
    await fleet.until(lambda: len(runs.starts) == 1)
    late = await fleet.within(fleet.client.publish("work.a", {}, deadline=5.0))
    result = await fleet.within(late.outcome(), 10.0)
    assert result.reason is Reason.EXPIRED
    assert len(runs.starts) == 1


async def test_waiting_tasks_leave_room_for_others(fleet: ManualFleet) -> None:
    """Eight waiting ones do not fill a worker of two places."""
    runs = Runs(fleet, seconds=20.0)
    role = runs.role(concurrency=2, limits=[Limit(concurrency=1, by="payload.who")])
    await fleet.start(role)
    await published(fleet, 8, who="many")
    await fleet.until(lambda: len(runs.starts) == 1)
    start = fleet.clock.wall()
    await published(fleet, 1, who="other")
    await fleet.until(lambda: len(runs.starts) == 2)
    assert runs.starts[1][1] == "other"
    assert fleet.clock.wall() < start + 1.0


async def test_a_limited_role_that_calls_itself_does_not_wait_for_itself(
    fleet: ManualFleet,
) -> None:
    """Who waits for its children holds no place; who goes on has one again."""
    running = most = 0

    async def handler(depth: int, ctx: Context) -> int:
        nonlocal running, most
        for _ in range(3):
            running += 1
            most = max(most, running)
            await fleet.clock.sleep(0.2)
            running -= 1
            if depth:
                calls = [ctx.call("worker", depth - 1) for _ in range(2)]
                await asyncio.gather(*calls)
        return depth

    fleet.tenants = {"*": Limit(concurrency=3)}
    await fleet.start(made(handler, concurrency=4, limits=[Limit(concurrency=2)]))
    tasks = [await fleet.within(fleet.client.publish("work.a", 2)) for _ in range(2)]
    await ended(fleet, tasks)
    assert most == 2
    entries = await fleet.within(fleet.bus.store.list("rate/places/"))
    assert {entry.value for entry in entries} == {b"{}"}


async def test_without_limits_nothing_is_asked_of_the_store(
    fleet: ManualFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither when tasks start, nor when they are published."""
    asked: list[str] = []
    for name in ("get", "put", "list", "delete"):
        sound = getattr(MemoryKeyValue, name)

        def noted(*args: Any, _sound: Any = sound, _name: str = name, **options: Any) -> Any:
            asked.append(f"{_name} {args[1]}")
            return _sound(*args, **options)

        monkeypatch.setattr(MemoryKeyValue, name, noted)
    runs = Runs(fleet)
    member = await fleet.start(runs.role())
    asked.clear()
    await fleet.within(fleet.client.publish("work.a", {}, reply=False))
    await fleet.until(lambda: member.worker.counts.succeeded == 1)
    assert asked == []
