"""What is wrong with a task that has not ended, given who is alive."""

from contracts.events import Kind
from knowledge.history.history import History
from knowledge.history.judging import Verdict, judge
from knowledge.history.records import TaskRecord
from knowledge.history.states import FINISHED, State
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


def _verdict(task: TaskRecord, after: float, *alive: str) -> Verdict | None:
    return judge(task, now=T0 + after, lease=LEASE, alive=set(alive))


def test_a_run_whose_worker_is_gone_is_lost_after_its_lease() -> None:
    running = _task(State.RUNNING)
    assert _verdict(running, 1) is None
    assert _verdict(running, 10.9) is None, "another may have it any moment"
    assert _verdict(running, 11.1) is Verdict.LOST


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
    assert judge(found[0], now=T0 + 50, lease=LEASE, alive=()) is Verdict.LOST
