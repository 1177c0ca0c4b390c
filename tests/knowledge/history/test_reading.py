"""What is asked of history is answered from what was told; pages miss and repeat nothing."""

from datetime import UTC, date, datetime

import pytest

from contracts.errors import InvalidValue
from contracts.events import Kind
from knowledge.history.asking import Filter
from knowledge.history.history import History
from knowledge.history.records import TaskRecord
from knowledge.history.states import State
from tests.knowledge.history.telling import T0, story, task_id, told

LATER = 4_000_000_000.0 - T0


async def _one_of_each(history: History) -> dict[str, str]:
    """A task in each state; their ids."""
    ids = {state.value: task_id() for state in State}
    await history.record(
        [
            told(Kind.PUBLISHED, ids["waiting"], published=T0),
            told(Kind.PUBLISHED, ids["delayed"], 1, published=T0 + 1, due=T0 + LATER),
            told(Kind.STARTED, ids["running"], 2, published=T0 + 2),
            told(Kind.RETRIED, ids["retrying"], 3, published=T0 + 3, after=60, reason="busy"),
            told(Kind.SNOOZED, ids["snoozed"], 4, published=T0 + 4, after=LATER),
            told(Kind.SUCCEEDED, ids["succeeded"], 5, published=T0 + 5),
            told(
                Kind.FAILED, ids["failed"], 6, published=T0 + 6, reason="crash", error="100% gone"
            ),
            told(Kind.CANCELLED, ids["cancelled"], 7, published=T0 + 7),
        ]
    )
    return ids


async def _ids(history: History, f: Filter) -> list[str]:
    return [t.task for t in (await history.tasks(f)).items]


async def test_each_state_is_found_by_its_name(history: History) -> None:
    ids = await _one_of_each(history)
    for state in State:
        assert await _ids(history, Filter(states=[state])) == [ids[state]], state


async def test_tasks_come_newest_first(history: History) -> None:
    ids = await _one_of_each(history)
    assert await _ids(history, Filter()) == list(ids.values())[::-1]


async def test_several_states_may_be_asked_for(history: History) -> None:
    ids = await _one_of_each(history)
    states = [State.FAILED, State.DELAYED]
    assert await _ids(history, Filter(states=states)) == [ids["failed"], ids["delayed"]]


async def test_a_span_of_time_has_its_first_moment_and_not_its_last(history: History) -> None:
    ids = await _one_of_each(history)
    found = await _ids(history, Filter(since=T0 + 1, until=T0 + 3))
    assert found == [ids["running"], ids["delayed"]]


@pytest.mark.parametrize(
    ("text", "count"),
    [("100% GONE", 1), ("1_0%", 0), ("busy", 1), ("text.WRITE", 8), ("\\", 0), ("\x00", 0)],
)
async def test_text_is_looked_for_as_it_is(history: History, text: str, count: int) -> None:
    await _one_of_each(history)
    assert len(await _ids(history, Filter(text=text))) == count


async def test_a_task_is_found_by_a_piece_of_its_id(history: History) -> None:
    ids = await _one_of_each(history)
    assert await _ids(history, Filter(text=ids["failed"][4:30].upper())) == [ids["failed"]]


async def test_role_topic_and_tenant_narrow(history: History) -> None:
    mine, other = task_id(), task_id()
    await history.record(
        [
            told(Kind.STARTED, mine, role="a", topic="x.y", tenant="acme"),
            told(Kind.STARTED, other, role="b", topic="x.z"),
        ]
    )
    for f in (Filter(role="a"), Filter(topic="x.y"), Filter(tenant="acme")):
        assert await _ids(history, f) == [mine]
    assert await _ids(history, Filter(role="a", topic="x.z")) == []


async def test_pages_miss_and_repeat_nothing_while_more_is_told(history: History) -> None:
    """Many of the same moment, several roles each; new ones and ends arrive between pages."""
    tasks = [task_id() for _ in range(25)]
    await history.record(
        [
            told(Kind.STARTED, task, role=role, published=T0 + n // 5)
            for n, task in enumerate(tasks)
            for role in ("a", "b")
        ]
    )
    seen: list[TaskRecord] = []
    after = None
    while True:
        page = await history.tasks(after=after, limit=7)
        seen += page.items
        after = page.after
        if after is None:
            break
        await history.record(
            [
                told(Kind.STARTED, task_id(), published=T0 + 100),
                told(Kind.SUCCEEDED, tasks[3], 9, role="a", published=T0),
            ]
        )
    assert sorted((t.task, t.role) for t in seen) == sorted(
        (task, role) for task in tasks for role in ("a", "b")
    )
    order = [(t.published, t.task, t.role) for t in seen]
    assert order == sorted(order, reverse=True)


@pytest.mark.parametrize("after", ["", "x", "!!", "e30", "WzEsMl0", "W251bGwsMSwyXQ", "\ud800"])
async def test_the_end_of_a_page_cannot_be_made_up(history: History, after: str) -> None:
    with pytest.raises(InvalidValue):
        await history.tasks(after=after)


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_a_page_has_a_size(history: History, limit: int) -> None:
    with pytest.raises(InvalidValue):
        await history.tasks(limit=limit)


@pytest.mark.parametrize("name", ["no such", "\x00", "\ud800", "x" * 10_000])
async def test_what_is_not_known_is_an_empty_answer(history: History, name: str) -> None:
    await _one_of_each(history)
    assert (await history.task(name)).found == []
    assert (await history.runs(name)).found == []
    assert (await history.events(name)).found == []
    assert (await history.result(name)).found == []
    assert await _ids(history, Filter(role=name)) == []


async def test_each_answer_says_as_of_when_it_is_true(history: History) -> None:
    task = task_id()
    assert (await history.task(task)).as_of == 0.0
    upto = (await history.watermark()).now
    await history.record(story(task), upto)
    assert (await history.task(task)).as_of == upto
    assert (await history.tasks()).as_of == upto
    assert (await history.runs(task)).as_of == upto
    assert (await history.events(task)).as_of == upto
    assert (await history.result(task)).as_of == upto
    assert (await history.usage()).as_of == upto
    assert (await history.unfinished(T0)).as_of == upto


async def test_only_the_last_events_of_many_are_read(history: History) -> None:
    task = task_id()
    await history.record([told(Kind.PROGRESS, task, n, number=n, share=n / 50) for n in range(50)])
    read = (await history.events(task, limit=3)).found
    assert [e.number for e in read] == [47, 48, 49]


async def test_usage_is_summed_by_what_is_asked_for(history: History) -> None:
    day = 86_400.0
    await history.record(
        [
            told(Kind.SUCCEEDED, task_id(), 0, role="a", tenant="x", seconds=2.0, cost=100),
            told(Kind.FAILED, task_id(), 0, role="a", tenant="y", seconds=1.0, reason="crash"),
            told(Kind.SUCCEEDED, task_id(), day, role="b", tenant="x", seconds=4.0, cost=50),
            told(Kind.PROGRESS, task_id(), day, role="b", tenant="x", cost=7, number=1),
        ]
    )
    first = datetime.fromtimestamp(T0, UTC).date()
    second = date.fromordinal(first.toordinal() + 1)
    by_day = (await history.usage(by=["day"])).found
    assert [(u.day, u.runs, u.seconds, u.cost) for u in by_day] == [
        (first, 2, 3.0, 100),
        (second, 1, 4.0, 57),
    ]
    by_role = (await history.usage(by=["role"], tenant="x")).found
    assert [(u.role, u.succeeded, u.cost) for u in by_role] == [("a", 1, 100), ("b", 1, 57)]
    [total] = (await history.usage(since=first, until=second, by=[])).found
    assert (total.day, total.tenant, total.role) == (None, None, None)
    assert (total.runs, total.failed) == (2, 1)


async def test_there_is_no_usage_of_nothing(history: History) -> None:
    assert (await history.usage()).found == []
    assert (await history.usage(by=[])).found == []
