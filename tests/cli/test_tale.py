"""What the demo makes of events: who is under way, what ended, where a task went on."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from contracts.clock import SystemClock
from contracts.events import Event, Kind
from workers.cli.demo.tale import Tale


def told(kind: Kind, at: float, *, task: str = "t", worker: str = "w1", **fields: Any) -> Event:
    given = {"topic": "a.b", "role": "r", "copy": 0, "attempt": 1, "pid": 1, **fields}
    return Event(kind=kind, at=at, task=task, worker=worker, **given)


async def heard(*events: Event) -> Tale:
    async def coming() -> AsyncIterator[Event]:
        for event in events:
            yield event

    tale = Tale(SystemClock(), lambda _: None)
    await tale.listen(coming())
    return tale


async def test_what_is_told_twice_is_heard_once() -> None:
    start = told(Kind.STARTED, 1.0)
    assert len((await heard(start, start)).heard) == 1


async def test_a_run_is_under_way_from_its_first_word_to_its_end() -> None:
    """Of the task and of what it called; what was only published is not."""
    child = told(Kind.PROGRESS, 2.0, task="c", correlation="t", worker="w2")
    over = told(Kind.STARTED, 2.0, task="d", correlation="t", worker="w3")
    tale = await heard(
        told(Kind.PUBLISHED, 0.0, role="", worker="/x"),
        told(Kind.STARTED, 1.0),
        told(Kind.PROGRESS, 1.5, number=1),
        child,
        over,
        told(Kind.SUCCEEDED, 3.0, task="d", correlation="t", worker="w3"),
        told(Kind.STARTED, 3.0, task="other"),
    )
    assert [(e.task, e.kind) for e in tale.under_way("t")] == [("t", "started"), ("c", "progress")]
    assert [e.task for e in tale.unfinished("t")] == ["t", "c"]


async def test_a_run_is_at_work_once_it_has_said_what_it_does() -> None:
    """The word that it began may come alone: its handler may not have been called by then."""
    begun, other = told(Kind.STARTED, 1.0), told(Kind.STARTED, 1.0, task="c", correlation="t")
    said = told(Kind.PROGRESS, 1.1, task="c", correlation="t", number=1, data={"note": "reads"})
    assert (await heard(begun, other, said)).at_work("t") == [other]


async def test_a_run_that_was_killed_goes_on_in_a_later_copy() -> None:
    """That another worker told its death is no end of its own; a later copy's first word counts."""
    run = told(Kind.STARTED, 1.0)
    obituary = told(Kind.RETRIED, 2.0, worker="w2")
    tale = await heard(run, obituary)
    assert (tale.ended(run), tale.again(run)) == (None, None)
    again = told(Kind.PROGRESS, 2.5, worker="w2", copy=1)
    assert (await heard(run, obituary, again)).again(run) == again


async def test_an_end_before_the_moment_was_not_settled_after_it() -> None:
    before, after = told(Kind.SUCCEEDED, 1.0), told(Kind.SUCCEEDED, 3.0, task="c")
    found = (await heard(before, after)).settled_since(2.0)
    assert found is not None
    assert found.event == after


async def test_who_waits_is_told_at_once() -> None:
    events: asyncio.Queue[Event] = asyncio.Queue()

    async def coming() -> AsyncIterator[Event]:
        while True:
            yield await events.get()

    tale = Tale(SystemClock(), lambda _: None)
    hearing = asyncio.create_task(tale.listen(coming()))
    waiting = asyncio.create_task(tale.until(lambda: tale.end("t", copy=1)))
    await events.put(told(Kind.FAILED, 1.0))
    await events.put(told(Kind.SUCCEEDED, 2.0, copy=1))
    assert (await waiting).kind == Kind.SUCCEEDED
    hearing.cancel()
    await asyncio.gather(hearing, return_exceptions=True)
