"""What must exist after a run, for every outcome: pure."""

import random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bus.backend import HIGH, LOW, NORMAL, RETRY, Delivery
from bus.backoff import Backoff
from bus.deadletters import MAX_ERROR
from bus.settling import hand_back, plan, to_message
from contracts.envelope import Envelope, Priority, decode
from contracts.events import TERMINAL, Kind, decode_events, encode_events
from contracts.outcomes import Done, Outcome, Reason, Reject, Retry, Snooze
from contracts.results import Status
from tests.bus.rooms import NOW, delivery, envelope, finished

ENDED = NOW + 2.0

texts = st.text(max_size=20)
waits = st.floats(0.0, 1e6)
retries = st.builds(
    Retry,
    after=st.none() | waits,
    reason=texts,
    last=st.sampled_from([Reason.EXHAUSTED, Reason.TIMEOUT, Reason.INVALID]),
    error=texts,
)
outcomes = st.one_of(
    st.sampled_from([Done(), Done(b'{"a":1}')]),
    retries,
    st.builds(Snooze, after=waits, reason=texts),
    st.builds(Reject, reason=texts, kind=st.sampled_from(Reason), error=texts),
)
tasks = st.builds(
    envelope,
    copy=st.integers(0, 50),
    attempt=st.integers(0, 6),
    reply=st.none() | st.just("caller"),
    priority=st.sampled_from(Priority),
    extra=st.sampled_from([{}, {"muster-replays": "2"}]),
)


@given(tasks, outcomes, st.integers(1, 6))
def test_a_task_ends_or_goes_on_and_never_both(
    task: Envelope, outcome: Outcome, attempts: int
) -> None:
    """Exactly one of: a next copy, a dead letter, success."""
    found = plan(finished(outcome, task=task, attempts=attempts), random.Random(1))
    success = found.event is not None and found.event.kind is Kind.SUCCEEDED
    assert [bool(found.then), found.dead is not None, success].count(True) == 1
    assert len(found.then) <= 1
    assert found.event is not None
    assert (found.event.kind in TERMINAL) is not bool(found.then)


@given(tasks, outcomes, st.integers(1, 6))
def test_the_next_copy_is_one_higher_for_this_group_in_the_retry_lane(
    task: Envelope, outcome: Outcome, attempts: int
) -> None:
    found = plan(finished(outcome, task=task, attempts=attempts), random.Random(1))
    for message in found.then:
        again = decode(message.headers, message.body)
        assert (message.copy, message.group, message.lane) == (task.copy + 1, "g", RETRY)
        assert (message.id, again.copy, again.extra) == (task.id, task.copy + 1, task.extra)
        used = 1 if isinstance(outcome, Retry) else 0
        assert again.attempt == task.attempt + used
        assert again.attempt < attempts or isinstance(outcome, Snooze)


@given(tasks, retries, st.integers(1, 6))
def test_a_retry_goes_on_while_attempts_are_left_then_dies_for_its_last_reason(
    task: Envelope, outcome: Retry, attempts: int
) -> None:
    found = plan(finished(outcome, task=task, attempts=attempts), random.Random(1))
    left = task.attempt + 1 < attempts
    assert bool(found.then) is left
    if found.dead is not None:
        assert found.dead.reason is outcome.last
        assert found.dead.attempts == task.attempt + 1
        assert outcome.error in found.dead.error or not outcome.error.isprintable()


@given(tasks, st.integers(0, 6), st.integers())
def test_a_retry_by_backoff_is_due_within_the_ceiling_of_its_tries(
    task: Envelope, more: int, seed: int
) -> None:
    run = finished(Retry(), task=task, attempts=task.attempt + 2 + more)
    (message,) = plan(run, random.Random(seed)).then
    assert ENDED <= message.due <= ENDED + Backoff().ceiling(task.attempt)


@pytest.mark.parametrize(
    ("outcome", "due"),
    [
        (Retry(after=60.0), ENDED + 60.0),
        (Retry(after=0.0), 0.0),
        (Snooze(3600.0), ENDED + 3600.0),
        (Snooze(0.0), 0.0),
        (Snooze(-5.0), 0.0),
    ],
)
def test_a_wait_counts_from_the_end_of_the_run(outcome: Outcome, due: float) -> None:
    (message,) = plan(finished(outcome, task=envelope()), random.Random(1)).then
    assert message.due == due


@given(tasks, outcomes, st.integers(1, 6))
def test_a_result_is_kept_only_for_an_end_that_somebody_asked_for(
    task: Envelope, outcome: Outcome, attempts: int
) -> None:
    found = plan(finished(outcome, task=task, attempts=attempts), random.Random(1))
    assert (found.result is not None) is (task.reply is not None and not found.then)
    if found.result is not None:
        status = Status.FAILED if found.dead else Status.SUCCEEDED
        reason = found.dead.reason if found.dead else None
        assert (found.result.status, found.result.reason) == (status, reason)
        assert (found.result.fence, found.result.attempt) == (task.copy, task.attempt + 1)


def test_an_outcome_that_was_known_already_is_not_put_again() -> None:
    task = envelope(reply="caller", copy=1)
    run = finished(Done(), task=task)
    known = type(run)(**{name: getattr(run, name) for name in run.__slots__} | {"known": True})
    assert plan(known, random.Random(1)).result is None


@given(tasks, st.sampled_from(Reason), texts, texts)
def test_a_rejected_task_is_a_dead_letter_with_all_it_came_with(
    task: Envelope, kind: Reason, reason: str, error: str
) -> None:
    run = finished(Reject(reason, kind, error), task=task, attempts=99)
    dead = plan(run, random.Random(1)).dead
    assert dead is not None
    assert (dead.id, dead.group, dead.topic, dead.copy) == (task.id, "g", "work.a", task.copy)
    assert (dead.reason, dead.worker, dead.died, dead.published) == (kind, "w1", ENDED, NOW)
    assert (dead.headers, dead.body) == (run.delivery.message.headers, task.body)
    assert dead.replays == int(task.extra.get("muster-replays", "0"))


@pytest.mark.parametrize(
    ("kind", "attempts"),
    [
        (Reason.REJECTED, 3),
        (Reason.TIMEOUT, 3),
        (Reason.EXPIRED, 2),
        (Reason.INVALID, 2),
        (Reason.BUDGET, 2),
    ],
)
def test_a_task_that_never_ran_has_used_no_attempt(kind: Reason, attempts: int) -> None:
    dead = plan(finished(Reject("x", kind), task=envelope(attempt=2)), random.Random(1)).dead
    assert dead is not None
    assert dead.attempts == attempts


def test_bytes_that_are_no_envelope_die_under_the_name_of_their_content() -> None:
    """The same bytes are the same dead letter, with another id than other bytes."""
    run = finished(Reject("not an envelope", Reason.INVALID))
    first, second = (plan(run, random.Random(seed)) for seed in (1, 2))
    assert first.dead is not None
    assert second.dead is not None
    assert first.dead.id == second.dead.id
    assert len(first.dead.id) == 64
    assert (first.dead.body, first.dead.headers) == (b"\xff\x00", {"x-foreign": "1"})
    assert (first.then, first.result) == ((), None)


def test_the_end_of_bytes_that_are_no_envelope_is_told() -> None:
    """With what the broker knows: under the name of the dead letter, and of its topic."""
    found = plan(finished(Reject("not an envelope", Reason.INVALID)), random.Random(1))
    assert found.event is not None
    assert found.dead is not None
    assert (found.event.kind, found.event.task) == (Kind.FAILED, found.dead.id)
    assert (found.event.topic, found.event.published) == ("work.a", 0.0)
    assert found.event.data["payload_bytes"] == 2
    assert decode_events(encode_events([found.event])) == [found.event]


def test_an_end_tells_payload_and_result_as_they_are() -> None:
    """For history: the JSON text, not what it may be read as."""
    run = finished(Done(b'{"b": 1.0}'), task=envelope(body=b'{"a":"\\u0000"}'))
    event = plan(run, random.Random(1)).event
    assert event is not None
    assert (event.data["payload"], event.data["result"]) == ('{"a":"\\u0000"}', '{"b": 1.0}')
    assert event.published == NOW
    assert decode_events(encode_events([event])) == [event]


def test_of_a_large_payload_or_result_an_end_tells_the_size() -> None:
    """An event is no second place for what is megabytes."""
    run = finished(Done(b"1" * 70_000), task=envelope(body=b"2" * 80_000))
    event = plan(run, random.Random(1)).event
    assert event is not None
    assert (event.data["payload_bytes"], event.data["result_bytes"]) == (80_000, 70_000)
    assert not {"payload", "result"} & set(event.data)


@given(st.text(st.characters(), min_size=0, max_size=50), st.booleans())
def test_whatever_a_handler_says_can_be_stored_and_told(text: str, dies: bool) -> None:
    """Half characters from file names, control characters: a settle must not fail for them."""
    outcome = Reject(text, error=text[::-1]) if dies else Snooze(1.0, text)
    found = plan(finished(outcome, task=envelope(reply="caller")), random.Random(1))
    assert found.event is not None
    assert encode_events([found.event])
    if found.dead is not None:
        assert found.result is not None
        assert found.dead.encode()
        assert found.result.encode()


@pytest.mark.parametrize("outcome", [Reject("x" * 5_000_000), Retry(error="é" * 5_000_000)])
def test_a_long_story_is_cut_for_everybody_who_is_told(outcome: Outcome) -> None:
    """An error text of megabytes would fit into no entry, and the task would never be settled."""
    found = plan(finished(outcome, task=envelope(reply="c"), attempts=1), random.Random(1))
    assert found.dead is not None
    assert found.result is not None
    assert found.event is not None
    assert len(found.dead.error.encode()) <= MAX_ERROR
    assert len(found.result.error.encode()) <= MAX_ERROR
    assert len(encode_events([found.event])) < 2000


def test_a_long_reason_to_come_back_is_cut_in_what_is_told() -> None:
    found = plan(finished(Snooze(1.0, "x" * 5_000_000), task=envelope()), random.Random(1))
    assert found.event is not None
    assert len(encode_events([found.event])) < 2000


@given(tasks)
def test_a_hand_back_uses_no_attempt_and_waits_for_nothing(task: Envelope) -> None:
    message = hand_back(delivery(task), task)
    again = decode(message.headers, message.body)
    assert (message.copy, message.group, message.lane) == (task.copy + 1, "g", RETRY)
    assert (message.due, again.attempt, again.body) == (0.0, task.attempt, task.body)


def test_bytes_that_are_no_envelope_are_handed_back_as_they_are() -> None:
    given = delivery()
    message = hand_back(given, None)
    assert (message.body, message.headers) == (given.message.body, given.message.headers)
    assert (message.copy, message.group, message.lane, message.due) == (1, "g", RETRY, 0.0)
    later = hand_back(Delivery(message, "g", 0, None), None)
    assert (later.id, later.copy) == (message.id, 2)


@pytest.mark.parametrize(
    ("fields", "due", "lane"),
    [
        ({"priority": Priority.HIGH}, 0.0, HIGH),
        ({}, 0.0, NORMAL),
        ({"priority": Priority.LOW}, 0.0, LOW),
        ({"priority": Priority.HIGH, "copy": 1}, 0.0, RETRY),
        ({"priority": Priority.HIGH}, NOW, RETRY),
    ],
)
def test_new_tasks_lie_in_their_priority_and_all_others_in_retry(
    fields: dict[str, Any], due: float, lane: object
) -> None:
    assert to_message(envelope(**fields), group=None, due=due).lane == lane


@given(tasks, outcomes)
def test_the_same_run_and_the_same_chance_give_the_same_plan(
    task: Envelope, outcome: Outcome
) -> None:
    assume(not isinstance(outcome, Retry) or outcome.after is not None)
    run = finished(outcome, task=task)
    assert plan(run, random.Random(1)) == plan(run, random.Random(2))
