"""The outcome of an award: whoever publishes it publishes the same."""

import random
from dataclasses import replace

import pytest

from bus.backend import Delivery
from bus.settling import Finished, Policy, from_message, to_message
from contracts.events import Kind
from contracts.outcomes import Cancelled, Done, Outcome, Reason, Reject, Retry, Snooze
from contracts.results import Status
from tests.bus.rooms import envelope
from workers.auctions.marks import BLOCK, Mark, mark_of, marked
from workers.auctions.outcome import Ended, FollowUp, plan_of, read, resolved, written

TASK = replace(
    marked(envelope("t-1"), Mark("worker.t-1.0", opened=True)).again(), reply="caller", fence=99
)


def finished(outcome: Outcome, *, attempts: int = 5) -> Finished:
    message = to_message(TASK, group="worker")
    return Finished(
        delivery=Delivery(message, "worker", 0, None),
        task=TASK,
        outcome=outcome,
        policy=Policy(attempts=attempts),
        worker="w-1",
        pid=7,
        started=1000.0,
        ended=1002.5,
    )


def through_bytes(f: Finished, *follow_ups: FollowUp) -> Ended:
    ended = Ended(finished=resolved(f, random.Random(3)), token=99, follow_ups=follow_ups)
    return read(written(ended), TASK.body)


OUTCOMES = [
    Done(b'{"a":\n[2]}'),
    Retry(4.0, "why", Reason.TIMEOUT, "trace"),
    Retry(),
    Snooze(3.0, "later"),
    Reject("no", Reason.INVALID, "trace"),
    Cancelled("by ada"),
]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda o: type(o).__name__)
def test_it_comes_to_the_same_for_whoever_reads_it(outcome: Outcome) -> None:
    first, second = through_bytes(finished(outcome)), through_bytes(finished(outcome))
    assert plan_of(first) == plan_of(second)
    again = replace(first, finished=replace(first.finished, policy=Policy(attempts=5)))
    assert written(again) == written(first)


def test_a_result_is_that_of_the_run() -> None:
    plan = plan_of(through_bytes(finished(Done(b'{"a":1}'))))
    assert plan.result is not None
    assert (plan.result.value, plan.result.worker, plan.result.finished) == (
        {"a": 1},
        "w-1",
        1002.5,
    )
    assert plan.event is not None
    assert (plan.event.kind, plan.event.copy) == (Kind.SUCCEEDED, TASK.copy)


def test_a_retry_begins_the_next_block_and_another_auction() -> None:
    plan = plan_of(through_bytes(finished(Retry(4.0, "why"))))
    (message,) = plan.then
    task = from_message(message)
    assert (message.copy, task.copy, task.attempt) == (BLOCK, BLOCK, 1)
    assert (message.due, message.group) == (1006.5, "worker")
    assert mark_of(task) is None
    assert task.fence is None


def test_a_snooze_uses_no_attempt() -> None:
    (message,) = plan_of(through_bytes(finished(Snooze(1.0)))).then
    assert (from_message(message).attempt, message.copy) == (0, BLOCK)


def test_without_attempts_it_is_dead_and_a_replay_begins_the_next_block() -> None:
    plan = plan_of(through_bytes(finished(Retry(reason="why", last=Reason.TIMEOUT), attempts=1)))
    assert plan.then == ()
    assert plan.dead is not None
    assert (plan.dead.reason, plan.dead.copy + 1, plan.dead.body) == (
        Reason.TIMEOUT,
        BLOCK,
        TASK.body,
    )
    assert plan.result is not None
    assert plan.result.status is Status.FAILED


def test_what_was_published_goes_with_it() -> None:
    ones = [FollowUp(envelope("a"), 5.0), FollowUp(replace(envelope("b"), body=b'"\\n"'))]
    found = through_bytes(finished(Done(b'"\\n"')), *ones)
    assert found.follow_ups == tuple(ones)
    assert found.finished.outcome == Done(b'"\\n"')
