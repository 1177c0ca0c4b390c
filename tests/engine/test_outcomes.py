"""What running a task comes to: results, retries, dead letters."""

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from bus.backend import MAX_BODY, Message
from bus.errors import Unreachable
from contracts.envelope import decode
from contracts.errors import InvalidValue, MusterError
from contracts.events import Kind
from contracts.outcomes import Done, Reason, Reject, Retry, Snooze
from contracts.results import Status
from tests.bus.rooms import result
from tests.engine.fleets import LEASE, ManualFleet, made
from workers.sdk.context import Context
from workers.sdk.errors import TaskFailed


class Ticket(BaseModel):
    text: str
    size: int = 1

    @field_validator("text")
    @classmethod
    def _look(cls, text: str) -> str:
        if text == "crash":
            raise KeyError("a check with a bug")
        if text == "uncommon":
            raise UncommonError("a check with a bug")
        return text


class UncommonError(BaseException):
    """One that `except Exception` lets pass."""


class UnspeakableError(Exception):
    """One that fails when it is asked what it says."""

    def __str__(self) -> str:
        raise self


class Runs:
    """A handler that notes its runs and ends each as told; the last way is kept."""

    def __init__(self, *ends: object) -> None:
        self.ends = list(ends)
        self.attempts: list[int] = []
        self.times: list[float] = []
        self.payloads: list[object] = []

    def role(self, fleet: ManualFleet, **options: Any) -> Any:
        async def handler(payload: Any, ctx: Context) -> Any:
            self.attempts.append(ctx.attempt)
            self.times.append(fleet.clock.wall())
            self.payloads.append(payload)
            end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
            if isinstance(end, BaseException):
                raise end
            return end

        return made(handler, **options)


async def ended(fleet: ManualFleet, payload: object = None, **options: Any) -> Any:
    """The end of a task with this payload."""
    task = await fleet.client.publish("work.a", payload, **options)
    return await fleet.within(task.outcome())


async def test_a_task_is_run_and_its_result_reaches_the_caller(fleet: ManualFleet) -> None:
    async def handler(ticket: Ticket, ctx: Context) -> dict[str, Any]:
        return {"text": ticket.text, "topic": ctx.topic, "attempt": ctx.attempt}

    member = await fleet.start(made(handler))
    task = await fleet.client.publish("work.a", Ticket(text="hello"))
    assert await fleet.within(task.result()) == {"text": "hello", "topic": "work.a", "attempt": 1}
    await fleet.until(lambda: member.worker.counts.succeeded == 1)
    assert await fleet.deliveries() == []


@pytest.mark.promise(17)
async def test_a_failing_task_is_retried_until_its_attempts_are_used_up(
    fleet: ManualFleet,
) -> None:
    """17: the dead letter says `exhausted`, and what went wrong, with the place."""
    runs = Runs(ValueError("no luck"))
    member = await fleet.start(runs.role(fleet, attempts=4))
    end = await ended(fleet)
    assert runs.attempts == [1, 2, 3, 4]
    assert (end.status, end.reason, end.attempt) == (Status.FAILED, Reason.EXHAUSTED, 4)
    (letter,) = await fleet.dead()
    assert (letter.reason, letter.attempts, letter.copy) == (Reason.EXHAUSTED, 4, 3)
    assert letter.error.startswith("ValueError: no luck\n")
    assert "Traceback" in letter.error
    assert "test_outcomes.py" in letter.error
    await fleet.until(lambda: member.worker.counts.failed == 1)
    assert member.worker.counts.again == 3


async def test_a_retry_that_succeeds_is_a_success(fleet: ManualFleet) -> None:
    runs = Runs(ValueError("first"), "fine")
    await fleet.start(runs.role(fleet))
    end = await ended(fleet)
    assert (end.value, end.attempt, end.fence) == ("fine", 2, 1)
    assert await fleet.dead() == []


async def test_retries_by_backoff_wait_longer_and_longer_at_most(fleet: ManualFleet) -> None:
    """Full jitter: retry n within backoff · 2^n seconds."""
    runs = Runs(ValueError("no"))
    await fleet.start(runs.role(fleet, attempts=5, backoff=8.0))
    await ended(fleet)
    waits = [b - a for a, b in zip(runs.times, runs.times[1:], strict=False)]
    assert all(wait <= 8.0 * 2**n + 1.0 for n, wait in enumerate(waits))
    assert sum(waits) > 1.0


async def test_a_handler_may_say_when_to_try_again(fleet: ManualFleet) -> None:
    """An attempt is used."""
    runs = Runs(Retry(after=60.0, reason="busy"), "done")
    await fleet.start(runs.role(fleet))
    assert (await ended(fleet)).attempt == 2
    assert 60.0 <= runs.times[1] - runs.times[0] <= 61.5


async def test_a_snooze_uses_no_attempt(fleet: ManualFleet) -> None:
    """However often."""
    runs = Runs(*[Snooze(after=30.0)] * 8, "done")
    await fleet.start(runs.role(fleet, attempts=2))
    end = await ended(fleet)
    assert runs.attempts == [1] * 9
    assert (end.attempt, end.fence) == (1, 8)
    waits = [b - a for a, b in zip(runs.times, runs.times[1:], strict=False)]
    assert all(30.0 <= wait <= 31.5 for wait in waits)


@pytest.mark.promise(17)
async def test_a_reject_is_a_dead_letter_at_once(fleet: ManualFleet) -> None:
    runs = Runs(Reject("not for us"))
    await fleet.start(runs.role(fleet))
    task = await fleet.client.publish("work.a", None)
    with pytest.raises(TaskFailed, match="rejected") as caught:
        await fleet.within(task.result())
    assert caught.value.result.error == "not for us"
    assert runs.attempts == [1]
    assert [letter.reason for letter in await fleet.dead()] == [Reason.REJECTED]


@pytest.mark.parametrize(
    ("error", "runs_expected", "reason"),
    [
        (InvalidValue("never right"), 1, Reason.REJECTED),
        (MusterError("no use"), 1, Reason.REJECTED),
        (Unreachable("away"), 3, Reason.EXHAUSTED),
        (RuntimeError("who knows"), 3, Reason.EXHAUSTED),
        (SystemExit(3), 3, Reason.EXHAUSTED),
        (TimeoutError("its own"), 3, Reason.EXHAUSTED),
        (asyncio.CancelledError(), 3, Reason.EXHAUSTED),
        (UncommonError("no Exception"), 3, Reason.EXHAUSTED),
        (BaseExceptionGroup("several", [UncommonError()]), 3, Reason.EXHAUSTED),
        (GeneratorExit(), 3, Reason.EXHAUSTED),
        (KeyboardInterrupt(), 3, Reason.EXHAUSTED),
    ],
)
async def test_an_error_that_says_repeating_is_useless_is_final_and_others_are_retried(
    fleet: ManualFleet, error: BaseException, runs_expected: int, reason: Reason
) -> None:
    """A handler that meets a cancelled task of its own is one that failed, not one to stop."""
    runs = Runs(error)
    await fleet.start(runs.role(fleet, attempts=3))
    end = await ended(fleet)
    assert (len(runs.attempts), end.reason) == (runs_expected, reason)


@pytest.mark.promise(19)
async def test_a_payload_that_does_not_fit_never_reaches_the_handler(fleet: ManualFleet) -> None:
    """Dead at once, with the field, what was expected and what came."""
    seen: list[Ticket] = []

    async def handler(ticket: Ticket, ctx: Context) -> None:
        seen.append(ticket)

    await fleet.start(made(handler))
    end = await ended(fleet, {"text": "x", "size": "huge"})
    assert (end.reason, seen) == (Reason.INVALID, [])
    (letter,) = await fleet.dead()
    assert "size: Input should be a valid integer" in letter.error
    assert "got 'huge'" in letter.error
    assert letter.attempts == 0


@pytest.mark.parametrize("bug", ["crash", "uncommon"])
async def test_a_check_of_a_payload_with_a_bug_of_its_own_does_not_hang_its_task(
    fleet: ManualFleet, bug: str
) -> None:
    """It is retried and dies like a handler that fails."""

    async def handler(ticket: Ticket, ctx: Context) -> None:
        return

    await fleet.start(made(handler, attempts=2, concurrency=1))
    end = await ended(fleet, {"text": bug})
    assert end.reason is Reason.EXHAUSTED
    assert "a check with a bug" in end.error
    assert (await ended(fleet, {"text": "fine"})).status is Status.SUCCEEDED


@pytest.mark.promise(19)
async def test_bytes_that_are_no_envelope_are_a_dead_letter_with_exactly_these_bytes(
    fleet: ManualFleet,
) -> None:
    """19: never a loop, never a silent drop."""
    runs = Runs("x")
    await fleet.start(runs.role(fleet))
    body, headers = bytes(range(256)), {"x-from": "abroad", "ce-id": "i"}
    await fleet.bus._backend.publish([Message("i", 0, "work.a", body, headers)])
    await fleet.clock.advance(1.0)
    (letter,) = await fleet.dead()
    assert (letter.id, letter.body, dict(letter.headers)) == ("i", body, headers)
    assert (letter.reason, letter.attempts) == (Reason.INVALID, 0)
    assert "ce-specversion" in letter.error
    assert (runs.attempts, await fleet.deliveries()) == ([], [])


async def test_a_task_past_its_deadline_is_not_begun(fleet: ManualFleet) -> None:
    runs = Runs("x")
    task = await _early(fleet, deadline=5.0)
    await fleet.clock.advance(6.0)
    await fleet.start(runs.role(fleet))
    end = await fleet.within(task.outcome())
    assert (end.reason, runs.attempts) == (Reason.EXPIRED, [])
    assert "1.0 s before it could start" in end.error


async def _early(fleet: ManualFleet, **options: Any) -> Any:
    """A task published before any worker runs."""
    await fleet.bus.bind("worker", ["work.#"])
    return await fleet.client.publish("work.a", None, **options)


async def test_a_retry_that_comes_after_the_deadline_is_not_begun(fleet: ManualFleet) -> None:
    runs = Runs(Retry(after=60.0))
    await fleet.start(runs.role(fleet))
    assert (await ended(fleet, deadline=30.0)).reason is Reason.EXPIRED
    assert runs.attempts == [1]


async def test_an_outcome_that_is_there_already_is_not_replaced_by_an_expiry(
    fleet: ManualFleet,
) -> None:
    """The worker died between the outcome and the settle; the deadline passed meanwhile."""

    async def dying(payload: Any, ctx: Context) -> None:
        early = result(ctx.id, value="early", role="worker")
        await fleet.bus.outcomes.put(fleet.client._reply, early)
        await member.crash()
        await asyncio.Event().wait()

    runs = Runs("late")
    member = await fleet.start(made(dying))
    task = await fleet.client.publish("work.a", None, deadline=5.0)
    await fleet.within(task.outcome())
    await fleet.clock.advance(LEASE + 1.0)
    await fleet.start(runs.role(fleet))
    await fleet.until(lambda: not any(lag.leased for lag in fleet.broker.lag("worker").values()))
    assert await fleet.deliveries() == []
    assert (await fleet.within(task.outcome())).value == "early"
    assert (await fleet.dead(), runs.attempts) == ([], [])


async def test_a_run_that_takes_too_long_is_cancelled_and_dies_of_timeout(
    fleet: ManualFleet,
) -> None:
    cancelled = 0

    async def handler(payload: Any, ctx: Context) -> None:
        nonlocal cancelled
        try:
            await asyncio.Event().wait()
        finally:
            cancelled += 1

    await fleet.start(made(handler, timeout=0.02, attempts=2))
    end = await ended(fleet)
    assert (cancelled, end.reason, end.attempt) == (2, Reason.TIMEOUT, 2)
    assert "longer than the 0.02 s of role worker" in end.error


async def test_a_deadline_that_passes_while_it_runs_is_an_expiry(fleet: ManualFleet) -> None:
    """No attempt would help."""
    started = asyncio.Event()

    async def handler(payload: Any, ctx: Context) -> None:
        started.set()
        await asyncio.Event().wait()

    await fleet.start(made(handler))
    task = await fleet.client.publish("work.a", None, deadline=0.2)
    end = await fleet.within(task.outcome())
    assert started.is_set()
    assert end.reason is Reason.EXPIRED


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"a": object()}, Reason.INVALID),
        (Done(b"not json"), Reason.EXHAUSTED),
        (Done(b'"' + b"x" * (MAX_BODY + 1) + b'"'), Reason.REJECTED),
        ("x" * (MAX_BODY + 1), Reason.REJECTED),
        (Retry(after=float("nan")), Reason.REJECTED),
        (Snooze(after=float("inf")), Reason.REJECTED),
        (Snooze(after="soon"), Reason.REJECTED),  # type: ignore[arg-type]
    ],
    ids=["object", "no-json", "large-done", "large", "retry-nan", "snooze-inf", "snooze-text"],
)
async def test_a_return_value_that_cannot_be_kept_ends_its_task(
    fleet: ManualFleet, value: object, reason: Reason
) -> None:
    """It must not hold its place or its lease for ever."""
    runs = Runs(value)
    member = await fleet.start(runs.role(fleet, attempts=2, concurrency=1))
    assert (await ended(fleet)).reason is reason
    runs.ends = ["fine"]
    assert (await ended(fleet)).value == "fine"
    await fleet.until(lambda: member.worker.running == 0)


async def test_a_result_of_another_type_than_declared_is_retried_then_invalid(
    fleet: ManualFleet,
) -> None:
    async def handler(payload: Any, ctx: Context) -> Ticket:
        return {"text": 7}  # type: ignore[return-value]

    await fleet.start(made(handler, attempts=2))
    end = await ended(fleet)
    assert (end.reason, end.attempt) == (Reason.INVALID, 2)
    assert "text: Input should be a valid string, got 7" in end.error


async def test_an_error_text_that_is_long_or_half_a_character_is_told_all_the_same(
    fleet: ManualFleet,
) -> None:
    """A settle that failed for it would bring the task back for ever."""
    runs = Runs(OSError("x" * 3_000_000 + "\udcff"), Reject("\udcff" * 3_000_000))
    await fleet.start(runs.role(fleet))
    end = await ended(fleet)
    assert (runs.attempts, end.reason) == ([1, 2], Reason.REJECTED)
    assert len(end.error) <= 8192


async def test_an_error_that_cannot_say_what_it_is_ends_its_task(fleet: ManualFleet) -> None:
    """It is told by its class and its place."""
    runs = Runs(UnspeakableError())
    await fleet.start(runs.role(fleet, attempts=2))
    end = await ended(fleet)
    assert (runs.attempts, end.reason) == ([1, 2], Reason.EXHAUSTED)
    assert end.error.startswith("UnspeakableError: ")
    assert "test_outcomes.py" in end.error


async def test_every_end_is_told_with_who_where_and_how_long(fleet: ManualFleet) -> None:
    """A run that ends at once is told once."""
    heard = await fleet.listen()
    runs = Runs(Retry(after=0.0, reason="again"), Snooze(0.0), Reject("no"))
    await fleet.start(runs.role(fleet), name="w-1")
    await ended(fleet)
    events = await heard()
    kinds = [event.kind for event in events]
    assert sorted(kinds) == sorted([Kind.RETRIED, Kind.SNOOZED, Kind.FAILED])
    by_kind = {event.kind: event for event in events}
    assert by_kind[Kind.RETRIED].data["reason"] == "again"
    assert by_kind[Kind.FAILED].data["reason"] == "rejected"
    assert {(e.worker, e.pid, e.role) for e in events} == {("w-1", 4711, "worker")}


async def test_progress_reaches_whoever_watches_the_latest_always(fleet: ManualFleet) -> None:
    """Reported too soon after another, it is reported a little later."""
    go_on = asyncio.Event()

    async def handler(payload: Any, ctx: Context) -> str:
        await ctx.progress(0.1, "begun")
        await ctx.progress(0.2)
        await ctx.progress(0.5, "half", pages=7)
        await go_on.wait()
        return "done"

    heard = await fleet.listen()
    await fleet.start(made(handler))
    seen: list[Any] = []

    async def watch() -> None:
        async for progress in fleet.client.progress():
            seen.append(progress)  # noqa: PERF401 - read while it grows

    watching = asyncio.create_task(watch())
    task = await fleet.client.publish("work.a", None)
    await fleet.until(lambda: bool(seen) and seen[-1].share == 0.5)
    assert (seen[0].task, seen[-1].note) == (task.id, "half")
    go_on.set()
    assert await fleet.within(task.result()) == "done"
    watching.cancel()
    told = [event for event in await heard() if event.kind is Kind.PROGRESS]
    assert [event.data["share"] for event in told] == [0.1, 0.2, 0.5]
    assert told[-1].data["pages"] == 7


async def test_the_last_progress_of_a_run_that_ends_at_once_is_reported(
    fleet: ManualFleet,
) -> None:
    async def handler(payload: Any, ctx: Context) -> None:
        await ctx.progress(0.5)
        await ctx.progress(0.9, "nearly")

    await fleet.start(made(handler))
    task = await fleet.client.publish("work.a", None)
    await fleet.within(task.outcome())

    async def first() -> Any:
        return await anext(fleet.client.progress())

    assert (await fleet.within(first())).note == "nearly"


async def test_progress_that_cannot_be_told_does_no_harm(fleet: ManualFleet) -> None:
    """Not to its task, nor to those whose events travel with it."""

    async def handler(payload: Any, ctx: Context) -> str:
        await ctx.progress(0.1, "x" * 3_000_000, thing=object())
        await ctx.progress(float("nan"), "\udcff", text="x" * 2_000_000)
        return "done"

    heard = await fleet.listen()
    await fleet.start(made(handler))
    tasks = await fleet.client.publish_many([("work.a", n) for n in range(8)])
    for task in tasks:
        assert await fleet.within(task.result()) == "done"
    kinds = [event.kind for event in await heard()]
    assert kinds.count(Kind.SUCCEEDED) == 8
    assert kinds.count(Kind.PROGRESS) == 16


async def test_progress_while_the_store_is_away_does_not_cost_an_attempt(
    fleet: ManualFleet,
) -> None:
    began = asyncio.Event()

    async def handler(payload: Any, ctx: Context) -> int:
        fleet.broker.store.outage()
        await ctx.progress(0.5)
        began.set()
        await fleet.clock.sleep(1.0)
        fleet.broker.store.restore()
        return ctx.attempt

    await fleet.start(made(handler))
    task = await fleet.client.publish("work.a", None)
    assert await fleet.within(task.result()) == 1
    assert began.is_set()


async def test_follow_up_tasks_have_the_same_ids_in_every_run(fleet: ManualFleet) -> None:
    """A repetition within the window adds nothing."""
    ids: list[list[str]] = []

    async def handler(payload: Any, ctx: Context) -> None:
        ids.append([await ctx.publish("next.step", n) for n in (1, 1, 2)])
        if ctx.attempt == 1:
            raise ValueError("again")

    await fleet.start(made(handler))
    await fleet.bus.bind("next", ["next.#"])
    await ended(fleet)
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 3
    found = await fleet.deliveries("next")
    assert sorted(d.message.id for d in found) == sorted(ids[0])


async def test_follow_up_tasks_inherit_who_they_are_for(fleet: ManualFleet) -> None:
    async def handler(payload: Any, ctx: Context) -> None:
        await ctx.publish("next.step", {"a": 1}, delay=30.0)

    await fleet.start(made(handler))
    await fleet.bus.bind("next", ["next.#"])
    task = await fleet.client.publish(
        "work.a", None, tenant="acme", subjects=("customer:7",), budget=5, deadline=100.0
    )
    await fleet.within(task.outcome())
    assert await fleet.deliveries("next") == []
    await fleet.clock.advance(31.0)
    (found,) = await fleet.deliveries("next")
    child = decode(found.message.headers, found.message.body)
    assert (child.tenant, child.subjects, child.budget) == ("acme", ("customer:7",), 5)
    assert (child.correlation, child.reply, child.body) == (task.id, None, b'{"a":1}')
    assert child.deadline is not None


@pytest.mark.promise(17)
async def test_a_replayed_task_runs_again_with_all_attempts(fleet: ManualFleet) -> None:
    """17: from dead to done."""
    runs = Runs(Reject("not yet"), ValueError("once more"), "fine")
    await fleet.start(runs.role(fleet, attempts=2))
    task = await fleet.client.publish("work.a", None)
    assert (await fleet.within(task.outcome())).status is Status.FAILED
    await fleet.bus.dead.replay("worker", task.id, now=fleet.clock.wall())
    await fleet.until(lambda: len(runs.attempts) == 3)
    await fleet.clock.advance(1.0)
    assert runs.attempts == [1, 1, 2]
    end = await fleet.within(task.outcome())
    assert (end.value, end.fence) == ("fine", 2)


@pytest.mark.promise(17)
async def test_a_task_of_a_foreign_publisher_can_be_replayed(fleet: ManualFleet) -> None:
    """Header names in another case: the copy still rises, or its retry would be a repetition."""
    runs = Runs(Reject("not yet"), Retry(after=0.0), Retry(after=0.0), "fine")
    await fleet.start(runs.role(fleet))
    headers = {"CE-SpecVersion": "1.0", "CE-Id": "i", "CE-Type": "work.a", "CE-Source": "/x"}
    await fleet.bus._backend.publish([Message("i", 0, "work.a", b"null", headers)])
    await fleet.clock.advance(1.0)
    await fleet.bus.dead.replay("worker", "i", now=fleet.clock.wall())
    await fleet.until(lambda: len(runs.attempts) == 4)
    assert await fleet.dead() == []


async def test_a_store_that_is_away_puts_a_task_off_without_an_attempt(
    fleet: ManualFleet,
) -> None:
    """Its outcome may be there: it is not begun without looking, nor asked for in a hot loop."""
    runs = Runs(Retry(after=1.0), "fine")
    member = await fleet.start(runs.role(fleet))
    task = await fleet.client.publish("work.a", None)
    await fleet.until(lambda: len(runs.attempts) == 1)
    fleet.broker.store.outage()
    await fleet.clock.advance(20.0)
    assert runs.attempts == [1]
    assert member.worker.counts.again <= 25
    fleet.broker.store.restore()
    end = await fleet.within(task.outcome())
    assert (end.value, end.attempt) == ("fine", 2)
