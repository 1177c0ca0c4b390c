"""What is wrong with a task that has not ended, given who is alive."""

from dataclasses import replace
from typing import Any

import pytest

from contracts.events import Kind
from knowledge.history.history import History
from knowledge.history.judging import Seen, Verdict, judge
from knowledge.history.records import TaskRecord
from knowledge.history.states import FINISHED, UNFINISHED, State
from tests.knowledge.history.telling import T0, story, task_id, told

LEASE = 10.0


def _task(state: State, deadline: float | None = None) -> TaskRecord:
    return TaskRecord(
        task="x",
        role="writer",
        topic="a",
        tenant="default",
        published=T0,
        state=state,
        since=T0,
        worker="w-1",
        deadline=deadline,
    )


def _verdict(task: TaskRecord, after: float, *alive: str, **seen: Any) -> Verdict | None:
    return judge(task, Seen(alive=set(alive), **seen), now=T0 + after, lease=LEASE)


def test_a_run_whose_worker_is_gone_is_left_after_its_lease() -> None:
    running = _task(State.RUNNING)
    assert _verdict(running, 1) is None
    assert _verdict(running, 10.9) is None, "another may have it any moment"
    assert _verdict(running, 11.1) is Verdict.LEFT


@pytest.mark.parametrize("state", sorted(UNFINISHED))
def test_what_the_bus_holds_nothing_of_is_lost(state: State) -> None:
    """Unless its worker lives: then its end is on its way."""
    assert _verdict(_task(state), 12, empty={"writer"}) is Verdict.LOST
    assert _verdict(_task(state), 10, empty={"writer"}) is None
    assert _verdict(_task(state), 12, empty={"checker"}) is not Verdict.LOST
    assert _verdict(_task(State.RUNNING), 12, "w-1", empty={"writer"}) is None


def test_what_nobody_has_taken_yet_is_in_no_role_that_could_be_empty() -> None:
    assert _verdict(replace(_task(State.WAITING), role=""), 12, empty={"", "writer"}) is None


def test_a_dead_letter_and_a_retired_role_say_why() -> None:
    running = _task(State.RUNNING)
    assert _verdict(running, 12, "w-1", dead={("writer", "x")}) is Verdict.DEAD
    assert _verdict(running, 12, dead={("checker", "x")}) is Verdict.LEFT
    assert _verdict(running, 12, unbound={"writer"}) is Verdict.RETIRED
    assert _verdict(running, 12, "w-1", unbound={"writer"}) is None


def test_a_run_whose_worker_lives_is_fine_however_long_it_takes() -> None:
    running = _task(State.RUNNING, deadline=T0 + 5)
    assert _verdict(running, 1e6, "w-1", "w-2") is None


def test_what_waits_is_fine_until_its_deadline() -> None:
    for state in (State.WAITING, State.DELAYED, State.RETRYING, State.SNOOZED):
        assert _verdict(_task(state, deadline=T0 + 60), 70) is None
        assert _verdict(_task(state, deadline=T0 + 60), 72) is Verdict.OVERDUE
        assert _verdict(_task(state), 1e6) is None


def test_nothing_is_wrong_with_what_has_ended() -> None:
    for state in FINISHED:
        assert _verdict(_task(state, deadline=T0), 1e6) is None


async def test_what_has_not_ended_and_is_silent_is_found(history: History) -> None:
    silent, recent = task_id(), task_id()
    await history.record(story(task_id()))
    await history.record([told(Kind.PUBLISHED, silent), told(Kind.STARTED, silent, 5)])
    await history.record([told(Kind.PUBLISHED, recent, 100), told(Kind.STARTED, recent, 105)])
    found = (await history.unfinished(T0 + 50)).found
    assert [(t.task, t.state) for t in found] == [(silent, State.RUNNING)]
    assert judge(found[0], Seen(), now=T0 + 50, lease=LEASE) is Verdict.LEFT
