"""Partitions are there before their day and gone after it, and nothing is lost without them."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from contracts.clock import SystemClock
from contracts.deeds import Deed
from contracts.events import Kind
from knowledge.database.database import Database
from knowledge.history.history import History
from knowledge.history.records import Answer
from knowledge.history.retention import DAY, LONGEST, Keep
from knowledge.history.states import State
from tests.knowledge.history.telling import T0, story, task_id, told

KEEP = Keep(tasks=10 * DAY, results=5 * DAY, events=3 * DAY)


def _kept(database: Database, keep: Keep = KEEP) -> History:
    return History(database, SystemClock(), keep)


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y%m%d}"


async def _partitions(database: Database, table: str) -> list[str]:
    async with database.link() as link:
        rows = await link.fetch(
            "SELECT inhrelid::regclass::text AS n FROM pg_inherits"
            " WHERE inhparent = $1::regclass ORDER BY 1",
            table,
        )
    return [row["n"] for row in rows]


async def _stray(database: Database, table: str) -> int:
    async with database.link() as link:
        count: int = await link.fetchval(f"SELECT count(*) FROM {table}_default")  # noqa: S608
    return count


async def test_days_are_made_ahead_once(database: Database) -> None:
    history = _kept(database)
    first = await history.retain(T0)
    assert {f"{t}_{_day(T0 + n * DAY)}" for t in ("tasks", "events") for n in (-1, 0, 3)} <= set(
        first.made
    )
    second = await history.retain(T0)
    assert (second.made, second.dropped, second.deleted) == ((), (), 0)
    assert len(await _partitions(database, "tasks")) == 6


async def test_rows_of_a_day_lie_in_its_partition(database: Database) -> None:
    history = _kept(database)
    await history.retain(T0)
    await history.record(story(task_id()))
    assert [await _stray(database, t) for t in ("tasks", "runs", "results", "events")] == [0] * 4


async def test_a_row_without_a_partition_is_kept_and_moved_when_there_is_one(
    database: Database,
) -> None:
    history = _kept(database)
    tasks = [task_id() for _ in range(3)]
    for n, task in enumerate(tasks):
        shift = -n * DAY
        batch = [told(e.kind, task, e.at - T0 + shift, published=T0 + shift) for e in story(task)]
        assert (await history.record(batch)).fresh == 5
    before = [(await history.task(task)).found for task in tasks]
    assert await _stray(database, "tasks") > 0
    await history.retain(T0)
    assert [await _stray(database, t) for t in ("tasks", "runs", "results", "events")] == [0] * 4
    assert [(await history.task(task)).found for task in tasks] == before


@pytest.mark.parametrize("table", ["tasks", "events"])
async def test_who_asks_while_rows_move_to_their_day_finds_them(
    database: Database, table: str
) -> None:
    """The move is held up by an older reader while the question is asked."""
    history, task = _kept(database), task_id()
    await history.record(story(task))
    ask: Mapping[str, Callable[[], Coroutine[Any, Any, Answer[Any]]]] = {
        "tasks": lambda: history.task(task),
        "events": lambda: history.events(task),
    }
    async with database.transaction() as link:
        await link.execute(f"LOCK TABLE {table}_default IN ACCESS SHARE MODE")
        moving = asyncio.create_task(history.retain(T0))
        await _waiting(database, 1)
        asked = asyncio.create_task(ask[table]())
        await _waiting(database, 2)
    assert len((await asked).found) == len((await ask[table]()).found) > 0
    await moving


async def _waiting(database: Database, count: int) -> None:
    """Return when so many statements wait for a lock of this database."""
    query = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
    query += " WHERE NOT granted AND datname = current_database()"
    async with asyncio.timeout(10.0):
        found = 0
        while found < count:
            async with database.link() as link:
                found = await link.fetchval(query)


async def test_each_kind_goes_in_its_time(database: Database) -> None:
    history = _kept(database)
    await history.retain(T0)
    task = task_id()
    await history.record(story(task))
    await history.retain(T0 + 4.5 * DAY)
    assert (await history.events(task)).found == []
    [result] = (await history.result(task)).found
    assert result.result is not None
    await history.retain(T0 + 6.5 * DAY)
    [result] = (await history.result(task)).found
    assert (result.state, result.result) == (State.SUCCEEDED, None)
    done = await history.retain(T0 + 11.5 * DAY)
    assert f"tasks_{_day(T0)}" in done.dropped
    assert (await history.task(task)).found == []
    assert (await history.runs(task)).found == []


async def test_what_has_not_ended_outlives_its_day(database: Database) -> None:
    """A task put off for months, and its end when it comes."""
    history = _kept(database)
    await history.retain(T0)
    task = task_id()
    await history.record([told(Kind.PUBLISHED, task, due=T0 + 200 * DAY)])
    for day in (12, 100, 199):
        await history.retain(T0 + day * DAY)
    [found] = (await history.task(task)).found
    assert found.published == T0
    await history.record([told(Kind.SUCCEEDED, task, 200 * DAY, result="1")])
    await history.retain(T0 + 201 * DAY)
    [found] = (await history.task(task)).found
    assert found.state is State.SUCCEEDED
    await history.retain(T0 + 212 * DAY)
    assert (await history.task(task)).found == []


async def test_what_never_ends_goes_after_four_hundred_days(database: Database) -> None:
    history = _kept(database)
    task = task_id()
    await history.record([told(Kind.STARTED, task)])
    await history.retain(T0 + 399 * DAY)
    assert len((await history.task(task)).found) == 1
    await history.retain(T0 + 401 * DAY)
    assert (await history.task(task)).found == []


async def test_old_rows_told_late_are_kept_no_longer_than_others(database: Database) -> None:
    history = _kept(database)
    await history.retain(T0 + 100 * DAY)
    task = task_id()
    await history.record(story(task))
    done = await history.retain(T0 + 100 * DAY)
    assert done.deleted > 0
    assert (await history.task(task)).found == []


async def test_a_time_far_ahead_waits_for_its_day(database: Database) -> None:
    history = _kept(database)
    task = task_id()
    await history.record([told(Kind.PUBLISHED, task, 9 * DAY, published=T0 + 9 * DAY)])
    await history.retain(T0)
    assert await _stray(database, "tasks") == 1
    await history.retain(T0 + 9 * DAY)
    assert await _stray(database, "tasks") == 0
    assert len((await history.task(task)).found) == 1


async def test_decisions_and_usage_are_kept_as_long_as_they_say(database: Database) -> None:
    history = _kept(database, Keep(letters=5 * DAY, usage=5 * DAY))
    await history.record([told(Kind.FAILED, task_id(), reason="crash", seconds=1.0)])
    done = Deed(id="d", at=T0, by="ada@desk", action="dlq purge", scope="letters")
    await history.record([], done=[done.to("t1", "writer", 0)])
    await history.retain(T0 + 4 * DAY)
    assert len((await history.deaths()).items) == 1
    assert len((await history.usage()).found) == 1
    await history.retain(T0 + 7 * DAY)
    assert (await history.deaths()).items == []
    assert (await history.usage()).found == []
    assert len((await history.audit()).items) == 1
    await history.retain(T0 + LONGEST + DAY)
    assert (await history.audit()).items == []
    async with database.link() as link:
        assert await link.fetchval("SELECT count(*) FROM audit_tasks") == 0


async def test_recording_goes_on_meanwhile_and_nothing_is_lost(database: Database) -> None:
    history = _kept(database, Keep(tasks=50 * DAY, results=50 * DAY, events=50 * DAY))
    tasks = [task_id() for _ in range(40)]

    async def record() -> None:
        for n, task in enumerate(tasks):
            shift = (n % 20) * DAY
            await history.record(
                [
                    told(Kind.PUBLISHED, task, shift, published=T0 + shift),
                    told(Kind.SUCCEEDED, task, shift + 1, published=T0 + shift, result="1"),
                ]
            )

    async def retain() -> None:
        for n in range(20):
            await history.retain(T0 + n * DAY)

    await asyncio.gather(record(), retain(), retain())
    for task in tasks:
        [found] = (await history.task(task)).found
        assert found.state is State.SUCCEEDED
    await history.retain(T0 + 20 * DAY)
    assert await _stray(database, "tasks") == 0
