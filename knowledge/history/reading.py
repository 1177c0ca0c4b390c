"""Questions to history. The watermark is read before what it speaks of: the answer is at least as
new as it says."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from contracts.events import Event, Kind
from knowledge.database.database import Database
from knowledge.database.statements import statement
from knowledge.history.asking import (
    Filter,
    clean,
    cleaned,
    most,
    pattern,
    place,
    stored,
    token,
    wanted,
)
from knowledge.history.records import (
    Answer,
    Page,
    ResultRecord,
    RunRecord,
    TaskRecord,
    Usage,
    Watermark,
)
from knowledge.history.states import State, shown

if TYPE_CHECKING:
    from asyncpg import Record

    from knowledge.database.links import Link

_ROLES = 1000
"""Roles of one task that are looked at."""


async def watermark(link: "Link") -> Watermark:
    """The watermark as of this connection's next statement."""
    row = await link.fetchrow(_sql("watermark"))
    return Watermark(row["upto"], row["now"]) if row else Watermark(0.0, 0.0)


async def mark(database: Database) -> Watermark:
    """See `History.watermark`."""
    async with database.link() as link:
        return await watermark(link)


async def task(database: Database, id_: str) -> Answer[Sequence[TaskRecord]]:
    """See `History.task`."""
    async with _asking(database) as link:
        mark = await watermark(link)
        rows = await link.fetch(_sql("listing"), *_arguments(Filter(), id_, None, _ROLES))
    latest: dict[str, TaskRecord] = {}
    for row in rows:
        latest.setdefault(row["role"], _task(row, mark.now))
    return Answer(sorted(latest.values(), key=lambda t: t.role), mark.upto)


async def tasks(
    database: Database, filter_: Filter, after: str | None, limit: int
) -> Page[TaskRecord]:
    """See `History.tasks`."""
    arguments = _arguments(filter_, None, after, most(limit) + 1)
    async with _asking(database) as link:
        mark = await watermark(link)
        rows = await link.fetch(_sql("listing"), *arguments)
    found = [_task(row, mark.now) for row in rows[:limit]]
    last = found[-1] if len(rows) > limit else None
    following = token(last.published, last.task, last.role) if last else None
    return Page(found, following, mark.upto)


async def unfinished(
    database: Database, silent_since: float, limit: int
) -> Answer[Sequence[TaskRecord]]:
    """See `History.unfinished`."""
    async with _asking(database) as link:
        mark = await watermark(link)
        rows = await link.fetch(_sql("unfinished"), silent_since, limit)
    return Answer([_task(row, mark.now) for row in rows], mark.upto)


async def runs(database: Database, id_: str) -> Answer[Sequence[RunRecord]]:
    """See `History.runs`."""
    async with _asking(database) as link:
        mark = await watermark(link)
        rows = await link.fetch(_sql("attempts"), clean(id_))
    return Answer([RunRecord(task=id_, **dict(row)) for row in rows], mark.upto)


async def events(database: Database, id_: str, limit: int) -> Answer[Sequence[Event]]:
    """See `History.events`."""
    async with _asking(database) as link:
        mark = await watermark(link)
        rows = await link.fetch(_sql("happened"), clean(id_), limit)
    return Answer([_event(row) for row in rows], mark.upto)


async def results(database: Database, id_: str, role: str | None) -> Answer[Sequence[ResultRecord]]:
    """See `History.result`."""
    async with _asking(database) as link:
        mark = await watermark(link)
        rows = await link.fetch(_sql("result"), *cleaned(id_, role))
    return Answer([_result(row) for row in rows], mark.upto)


async def usage(
    database: Database,
    span: tuple[date | None, date | None],
    whose: tuple[str | None, str | None],
    by: Sequence[str],
) -> Answer[Sequence[Usage]]:
    """See `History.usage`."""
    parts = ["day" in by, "tenant" in by, "role" in by]
    async with _asking(database) as link:
        mark = await watermark(link)
        rows = await link.fetch(_sql("usage"), *span, *cleaned(*whose), *parts)
    return Answer([Usage(**dict(row)) for row in rows], mark.upto)


def _asking(database: Database) -> "AbstractAsyncContextManager[Link]":
    return database.transaction(fresh_plans=True)


def _arguments(f: Filter, id_: str | None, after: str | None, limit: int) -> list[Any]:
    states = stored(f.states)
    return cleaned(
        *(f.role, f.topic, f.tenant, states, wanted(f.states), f.since, f.until),
        *(pattern(f.text), id_, *place(after, ((int, float), str, str)), limit),
        states[0] if states and len(states) == 1 else None,
    )


def _task(row: "Record", now: float) -> TaskRecord:
    given = dict(row)
    given["state"] = shown(row["state"], row["due"], now)
    given["subjects"] = tuple(row["subjects"] or ())
    given["copy"] = max(0, row["copy"])
    return TaskRecord(**given)


def _result(row: "Record") -> ResultRecord:
    given = dict(row)
    given["state"] = State(row["state"])
    given["finished"] = given.pop("since")
    return ResultRecord(**given)


def _event(row: "Record") -> Event:
    given = dict(row)
    del given["told"]
    given["kind"] = Kind(row["kind"])
    given["copy"] = max(0, row["copy"])
    data = given.pop("data")
    return Event(**given, data=MappingProxyType(from_json(data) if data else {}))


def _sql(name: str) -> str:
    return statement("knowledge.history", name)
