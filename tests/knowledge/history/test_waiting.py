"""A task that was published a moment ago is not said to be unknown."""

import asyncio

from contracts.clock import ManualClock
from contracts.events import Kind
from knowledge.database.database import Database
from knowledge.history.history import History
from knowledge.history.records import Answer
from knowledge.history.waiting import NoSuchTask, NotRecorded
from tests.knowledge.history.telling import task_id, told


async def test_a_task_that_is_known_is_answered_at_once(history: History) -> None:
    task = task_id()
    await history.record([told(Kind.PUBLISHED, task)])
    found = await history.look(task, patience=0.0)
    assert isinstance(found, Answer)
    assert found.found[0].task == task


async def test_an_unknown_task_is_denied_once_history_has_caught_up(history: History) -> None:
    looking = asyncio.create_task(history.look(task_id(), patience=60))
    while not looking.done():
        await history.record([], (await history.watermark()).now)
    assert isinstance(await looking, NoSuchTask)


async def test_what_is_recorded_while_somebody_waits_is_found(history: History) -> None:
    task = task_id()
    looking = asyncio.create_task(history.look(task, patience=60))
    await history.record([], (await history.watermark()).now - 3600.0)
    await history.record([told(Kind.PUBLISHED, task)])
    found = await looking
    assert isinstance(found, Answer)


async def test_history_that_stays_behind_says_by_how_much(database: Database) -> None:
    """No time passes but on the clock that is waited by: two seconds of it."""
    clock = ManualClock()
    history = History(database, clock)
    await history.record([], (await history.watermark()).now - 30.0)
    looking = asyncio.create_task(history.look(task_id()))
    start = clock.monotonic()
    while not looking.done():
        await clock.advance(0.05)
        await history.watermark()
    found = await looking
    assert isinstance(found, NotRecorded)
    assert 30.0 <= found.behind < 90.0
    assert clock.monotonic() - start >= 2.0


async def test_history_that_nothing_ever_wrote_knows_that_it_is_behind(history: History) -> None:
    found = await history.look(task_id(), patience=0.0)
    assert isinstance(found, NotRecorded)
    assert found.as_of == 0.0


async def test_history_that_was_just_complete_is_not_waited_for(history: History) -> None:
    await history.record([], (await history.watermark()).now)
    mark = await history.catch_up(patience=0.0)
    assert mark.behind < 0.5


async def test_it_is_given_time_to_catch_up_and_somebody_is_asked_to(history: History) -> None:
    await history.record([], (await history.watermark()).now - 30.0)
    asks = history.asks()
    asked = asyncio.ensure_future(anext(asks))
    while not asked.done():  # who begins to listen after a question hears the next one
        await history.catch_up(patience=0.05)
    catching = asyncio.create_task(history.catch_up(patience=60.0))
    upto = (await history.watermark()).now + 60.0
    await history.record([], upto)
    assert (await catching).upto == upto
    await asks.aclose()  # type: ignore[attr-defined]


async def test_history_that_cannot_catch_up_says_how_far_it_is_behind(database: Database) -> None:
    """No time passes but on the clock that is waited by: one second of it."""
    clock = ManualClock()
    history = History(database, clock)
    await history.record([], (await history.watermark()).now - 30.0)
    catching = asyncio.create_task(history.catch_up())
    start = clock.monotonic()
    while not catching.done():
        await clock.advance(0.05)
        await history.watermark()
    assert 30.0 <= (await catching).behind < 90.0
    assert 1.0 <= clock.monotonic() - start < 5.0
