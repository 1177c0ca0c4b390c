"""What `record` returned for is there, once, in the state the last event tells."""

import asyncio
from random import Random

import pytest

from contracts.events import Event, Kind
from contracts.ids import key_id
from knowledge.history.history import History
from knowledge.history.states import State
from tests.knowledge.history.telling import T0, story, task_id, told


async def _state(history: History, task: str) -> State:
    [found] = (await history.task(task)).found
    return found.state


async def test_a_task_is_followed_from_its_publication_to_its_end(history: History) -> None:
    task = task_id()
    states = []
    for event in story(task):
        await history.record([event])
        states.append(await _state(history, task))
    assert states == [
        State.WAITING,
        State.RUNNING,
        State.RETRYING,
        State.RUNNING,
        State.SUCCEEDED,
    ]


async def test_what_was_published_to_anybody_shows_as_the_task_of_who_took_it(
    history: History,
) -> None:
    task = task_id()
    await history.record([told(Kind.PUBLISHED, task, priority="high", deadline=T0 + 60)])
    [before] = (await history.task(task)).found
    assert (before.role, before.state, before.priority) == ("", State.WAITING, "high")
    await history.record([told(Kind.STARTED, task, 1)])
    [after] = (await history.task(task)).found
    assert (after.role, after.state, after.priority) == ("writer", State.RUNNING, "high")
    assert after.deadline == T0 + 60


async def test_each_role_has_a_state_of_its_own(history: History) -> None:
    task = task_id()
    await history.record(
        [
            told(Kind.PUBLISHED, task),
            told(Kind.SUCCEEDED, task, 2, role="writer", seconds=1.0),
            told(Kind.FAILED, task, 3, role="checker", reason="timeout", error="too slow"),
        ]
    )
    found = (await history.task(task)).found
    assert [(t.role, t.state) for t in found] == [
        ("checker", State.FAILED),
        ("writer", State.SUCCEEDED),
    ]


async def test_the_same_batch_twice_is_one(history: History) -> None:
    batch = story(task_id())
    first = await history.record(batch)
    second = await history.record(batch)
    assert (first.events, first.fresh) == (5, 5)
    assert (second.events, second.fresh) == (5, 0)
    [used] = (await history.usage(by=["role"], role="writer")).found
    assert (used.runs, used.succeeded, used.retried, used.seconds) == (2, 1, 1, 2.5)


async def test_an_event_twice_in_a_batch_is_one(history: History) -> None:
    batch = story(task_id())
    assert (await history.record(batch + batch)).fresh == 5


async def test_overlapping_batches_at_once_are_one(history: History) -> None:
    """Many writers, the same tasks in different orders: no deadlock, nothing twice."""
    rng = Random(4)
    tasks = [task_id() for _ in range(30)]
    events = [event for task in tasks for event in story(task)]
    batches = [rng.sample(events, 100) for _ in range(12)] + [events]
    told_fresh = await asyncio.gather(*(history.record(batch) for batch in batches))
    assert sum(recorded.fresh for recorded in told_fresh) == len(events)
    page = await history.tasks(limit=100)
    assert {t.task for t in page.items} == set(tasks)
    assert {t.state for t in page.items} == {State.SUCCEEDED}


@pytest.mark.parametrize("kind", [Kind.SUCCEEDED, Kind.FAILED, Kind.CANCELLED])
async def test_an_end_is_not_undone_by_a_late_start(history: History, kind: Kind) -> None:
    task = task_id()
    await history.record([told(kind, task, 5)])
    await history.record([told(Kind.STARTED, task, 1), told(Kind.PROGRESS, task, 6, share=0.5)])
    await history.record([told(Kind.PUBLISHED, task, 0)])
    assert await _state(history, task) == State(kind.value)


async def test_a_result_is_not_replaced_by_one_of_a_lower_fence(history: History) -> None:
    """The holder of copy 0 was cut off, copy 1 ran elsewhere; then the first one is heard."""
    task = task_id()
    await history.record([told(Kind.SUCCEEDED, task, 5, copy=1, result='"second"')])
    await history.record([told(Kind.SUCCEEDED, task, 6, copy=0, result='"first"')])
    [found] = (await history.result(task)).found
    assert (found.copy, found.result) == (1, '"second"')


async def test_a_run_that_replaces_another_hides_its_result_until_it_ends(
    history: History,
) -> None:
    task = task_id()
    await history.record(
        [
            told(Kind.SUCCEEDED, task, 5, copy=0, result='"first"'),
            told(Kind.STARTED, task, 4, copy=1),
        ]
    )
    assert await _state(history, task) == State.RUNNING
    assert (await history.result(task)).found == []
    await history.record([told(Kind.SUCCEEDED, task, 7, copy=1, result='"second"')])
    [found] = (await history.result(task)).found
    assert found.result == '"second"'


async def test_of_two_ends_of_one_copy_the_later_counts(history: History) -> None:
    task = task_id()
    later = told(Kind.SUCCEEDED, task, 6, worker="writer-2", result='"later"')
    earlier = told(Kind.SUCCEEDED, task, 5, worker="writer-1", result='"earlier"')
    await history.record([later])
    await history.record([earlier])
    [found] = (await history.result(task)).found
    assert (found.worker, found.result) == ("writer-2", '"later"')


async def test_a_short_run_is_known_by_its_end_alone(history: History) -> None:
    task = task_id()
    await history.record([told(Kind.SUCCEEDED, task, 5, seconds=0.25)])
    [run] = (await history.runs(task)).found
    assert (run.started, run.at, run.outcome) == (T0 + 4.75, T0 + 5, "succeeded")
    [found] = (await history.task(task)).found
    assert found.started == T0 + 4.75


async def test_runs_tell_what_each_came_to(history: History) -> None:
    task = task_id()
    for event in reversed(story(task)):
        await history.record([event])
    runs = (await history.runs(task)).found
    assert [(r.copy, r.worker, r.started, r.outcome, r.reason) for r in runs] == [
        (0, "writer-1", T0 + 1, "retried", "busy"),
        (1, "writer-2", T0 + 8, "succeeded", None),
    ]


async def test_payload_and_result_are_given_back_as_they_came(history: History) -> None:
    task = task_id()
    payload = '{"text": "tab\\u0000 \\ud83d\\ude00 é", "n": 1e400}'
    await history.record([told(Kind.SUCCEEDED, task, 5, payload=payload, result_bytes=900_000)])
    [found] = (await history.result(task)).found
    assert (found.payload, found.result) == (payload, None)
    assert found.result_bytes == 900_000


async def test_events_are_read_as_they_were_told(history: History) -> None:
    task = task_id()
    batch = story(task, correlation="c", tenant="acme")
    await history.record(list(reversed(batch)))
    read = (await history.events(task)).found
    assert [e.id for e in read] == [e.id for e in batch]
    assert read[2] == batch[2]
    assert dict(read[4].data) == {"seconds": 1.5}  # its bodies are with the result


async def test_a_progress_tells_where_the_run_is(history: History) -> None:
    task = task_id()
    await history.record(
        [
            told(Kind.PROGRESS, task, 3, share=0.9, note="checked", number=2),
            told(Kind.PROGRESS, task, 2, share=0.4, note="read", number=1),
            told(Kind.STARTED, task, 1),
        ]
    )
    [found] = (await history.task(task)).found
    assert (found.share, found.note, found.started) == (0.9, "checked", T0 + 1)


async def test_a_task_without_a_time_of_publication_is_one_task(history: History) -> None:
    task = task_id()
    for event in story(task, published=0.0):
        await history.record([event])
    [found] = (await history.task(task)).found
    assert (found.state, found.published) == (State.SUCCEEDED, T0)


async def test_a_key_that_is_used_again_later_is_a_publication_of_its_own(
    history: History,
) -> None:
    """Its first run is copy 0 again: what an earlier publication came to does not hide it."""
    task, day = key_id("default", "text.write", "daily"), 86_400.0
    await history.record(story(task))
    await history.record(
        [
            told(Kind.PUBLISHED, task, day, published=T0 + day),
            told(Kind.SUCCEEDED, task, day + 1, published=T0 + day, result='"today"'),
        ]
    )
    [found] = (await history.task(task)).found
    assert found.published == T0 + day
    [result] = (await history.result(task)).found
    assert result.result == '"today"'
    assert len((await history.tasks()).items) == 2


async def test_a_publication_that_was_only_repeated_is_not_waiting_for_ever(
    history: History,
) -> None:
    """The broker dropped the second: no run will ever tell of it."""
    task = key_id("default", "text.write", "again")
    await history.record(story(task))
    await history.record([told(Kind.PUBLISHED, task, 30, published=T0 + 30)])
    assert await _state(history, task) == State.SUCCEEDED
    assert [t.state for t in (await history.tasks()).items] == [State.SUCCEEDED]
    assert (await history.unfinished(T0 + 1e6)).found == []


async def test_a_letter_that_is_given_back_waits_again(history: History) -> None:
    task = task_id()
    dead = told(Kind.FAILED, task, 5, copy=2, reason="timeout", error="x", attempt=3)
    back = told(Kind.REPLAYED, task, 9, copy=3, by="ada@desk")
    await history.record([back])
    await history.record([dead])
    assert await _state(history, task) == State.WAITING
    [death] = (await history.deaths()).items
    assert (death.fate, death.fate_by, death.replays) == ("replayed", "ada@desk", 1)
    await history.record([told(Kind.STARTED, task, 10, copy=3)])
    assert await _state(history, task) == State.RUNNING


async def test_an_empty_batch_moves_the_watermark(history: History) -> None:
    before = await history.watermark()
    await history.record([], upto=before.now)
    assert (before.upto, (await history.watermark()).upto) == (0.0, before.now)


async def test_the_watermark_never_goes_back(history: History) -> None:
    now = (await history.watermark()).now
    await history.record([], upto=now)
    before = (await history.watermark()).upto
    await history.record(story(task_id()), upto=now - 3600.0)
    assert (await history.watermark()).upto == before


@pytest.mark.parametrize(
    "poison",
    [
        told(Kind.STARTED, "a\x00b"),
        told(Kind.STARTED, "half \ud800"),
        told(Kind.STARTED, "x", at=float("nan")),
        told(Kind.STARTED, "x", at=float("inf")),
        told(Kind.STARTED, "x", at=1e300),
        told(Kind.STARTED, "x", at=-1e10),
        told(Kind.STARTED, "x", published=1e300),
        told(Kind.STARTED, "x", role=""),
        told(Kind.STARTED, "x", copy=2**31),
        told(Kind.STARTED, "x", copy=-1),
        told(Kind.STARTED, "x", number=2**63),
        told(Kind.STARTED, "".join(map(chr, range(300, 9000)))),  # too long for an index
        told(Kind.FAILED, "".join(map(chr, range(300, 9000)))),
    ],
    ids=lambda e: f"{e.task[:6]!a}/{e.at}/{e.copy}/{e.number}",
)
async def test_one_poisonous_event_does_not_keep_others_out(
    history: History, poison: Event
) -> None:
    task = task_id()
    batch = story(task)
    recorded = await history.record([*batch[:3], poison, *batch[3:]], upto=1.0)
    assert (recorded.events, recorded.fresh, recorded.refused) == (6, 5, 1)
    assert len(recorded.named) == 1
    assert await _state(history, task) == State.SUCCEEDED
    assert (await history.watermark()).upto == 1.0


@pytest.mark.parametrize("text", ["cut \ud800 off", "a\x00b", "\x00", "é\ud8ff"])
async def test_what_is_only_told_is_mended_and_kept(history: History, text: str) -> None:
    task = task_id()
    batch = [
        told(Kind.PUBLISHED, task, priority=text, parent=text, subjects=[text]),
        told(Kind.STARTED, task, note=text),
        told(Kind.FAILED, task, 1, reason=text, error=text, payload=text, extra={text: [text]}),
    ]
    assert (await history.record(batch)).fresh == 3
    [found] = (await history.task(task)).found
    assert found.error is not None
    assert len((await history.events(task)).found) == 3


@pytest.mark.parametrize("value", [float("nan"), 10**400, "soon", None, [], {}, True, -1])
async def test_data_of_another_type_than_expected_refuses_nothing(
    history: History, value: object
) -> None:
    names = "seconds cost share note payload result payload_bytes due after priority reason".split()
    data = dict.fromkeys([*names, "deadline", "parent", "subjects", "error"], value)
    task = task_id()
    batch = [told(kind, task, n, **data) for n, kind in enumerate(Kind)]
    assert (await history.record(batch)).fresh == len(Kind)


async def test_events_that_disagree_about_one_task_are_kept(history: History) -> None:
    task = task_id()
    batch = [
        told(kind, task, n, role=role, tenant=tenant, topic=f"{tenant}.x", correlation=role)
        for n, kind in enumerate(Kind)
        for role, tenant in (("a", "x"), ("b", "y"), ("a", "z"))
    ]
    recorded = await history.record(batch)
    assert recorded.refused == 0
    assert len((await history.events(task)).found) == recorded.fresh
    assert [t.state for t in (await history.task(task)).found] == [State.CANCELLED] * 2


@pytest.mark.parametrize("absurd", [{"seconds": 1e308}, {"cost": 2**63 - 1}, {"cost": 10**15}])
async def test_an_absurd_figure_does_not_break_the_sum_of_the_others(
    history: History, absurd: dict[str, float]
) -> None:
    for _ in range(12):
        batch = [told(Kind.SUCCEEDED, task_id(), **absurd)]
        assert (await history.record(batch)).refused == 0
    assert (await history.record(story(task_id()))).fresh == 5
    [used] = (await history.usage(by=[])).found
    assert used.succeeded == 13
