"""What operators did: kept once, however often and in however many parts it is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from contracts.deeds import Action, Deed
from knowledge.database.database import Database
from knowledge.database.errors import Unfitting
from knowledge.database.statements import statement
from knowledge.history.asking import clean, cleaned, most, place, token
from knowledge.history.reading import watermark
from knowledge.history.records import DeedRecord, Page, Recorded, TaskRecord

if TYPE_CHECKING:
    from asyncpg import Record

    from knowledge.database.links import Link

_AT_ONCE = 1000
"""Deeds, or parts of them, of one transaction."""

_LAST = 253_402_300_799.0
_INT, _BIGINT = 2**31 - 1, 2**63 - 1

_MANY = (Action.CANCEL, Action.EMPTY, Action.PAUSE, Action.RESUME, Action.RETIRE)
"""What is done to all of a role, tenant, subject or fleet, and concerns each of its tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeedFilter:
    """Which deeds: None means any. `by`: user@host, or the user; `action`: its words, or the first
    of them, such as `dlq`; `since` and `until`: when it was done, the first included."""

    by: str | None = None
    action: str | None = None
    role: str | None = None
    task: str | None = None
    since: float | None = None
    until: float | None = None


async def record(database: Database, deeds: Sequence[Deed]) -> Recorded:
    """Keep `deeds`; what no table can hold is left out and counted."""
    done = Recorded()
    for begin in range(0, len(deeds), _AT_ONCE):
        done += await _record(database, deeds[begin : begin + _AT_ONCE])
    return done


async def _record(database: Database, deeds: Sequence[Deed]) -> Recorded:
    try:
        async with database.transaction() as link:
            await link.execute(_sql("turn"), database.schema)
            fresh = await keep(link, deeds)
        return Recorded(len(deeds), fresh)
    except Unfitting:
        if len(deeds) > 1:
            half = len(deeds) // 2
            return await _record(database, deeds[:half]) + await _record(database, deeds[half:])
        return Recorded(events=1, refused=1, named=(clean(deeds[0].id)[:200],))


async def keep(link: "Link", deeds: Sequence[Deed]) -> int:
    """Keep `deeds` in the transaction of `link`; answers how many were new."""
    rows = [_row(deed) for deed in deeds]
    done = await link.execute(_sql("deeds"), *map(list, zip(*rows, strict=True)))
    tasks = [
        (clean(one.task), clean(deed.id), clean(one.role), _copy(one.copy))
        for deed in deeds
        for one in deed.tasks
    ]
    if tasks:
        await link.execute(_sql("done_to"), *map(list, zip(*tasks, strict=True)))
    return int(done.split()[-1])


def _row(deed: Deed) -> list[Any]:
    count = deed.count if deed.count is not None and 0 <= deed.count <= _BIGINT else None
    at = deed.at if 0 <= deed.at <= _LAST else 0.0
    said = (deed.before, deed.after, _json(dict(deed.data)))
    named = (deed.by, str(deed.action), str(deed.scope), deed.target, deed.role)
    return cleaned(deed.id, at, *named, count, *said)


def _copy(copy: int | None) -> int:
    return copy if copy is not None and 0 <= copy <= _INT else -1


def _json(details: Any) -> str:
    try:
        return to_json(details, inf_nan_mode="null").decode()
    except (PydanticSerializationError, ValueError):
        return to_json(clean(repr(details))).decode()


async def page(
    database: Database, f: DeedFilter, after: str | None, limit: int
) -> Page[DeedRecord]:
    """See `History.audit`."""
    who = (f.by, f.action, f.role, f.task, f.since, f.until)
    arguments = cleaned(*who, *place(after, ((int, float), int)), most(limit) + 1)
    async with database.transaction(fresh_plans=True) as link:
        mark = await watermark(link)
        rows = await link.fetch(_sql("audited"), *arguments)
    found = [_deed(row) for row in rows[:limit]]
    last = found[-1] if len(rows) > limit else None
    return Page(found, token(last.at, last.id) if last else None, mark.upto)


async def concerning(database: Database, tasks: Sequence[TaskRecord]) -> Sequence[DeedRecord]:
    """See `History.deeds`."""
    first = tasks[0]
    ended = max(t.since for t in tasks) if all(t.finished for t in tasks) else None
    roles = [t.role for t in tasks if t.role]
    subjects = [subject for t in tasks for subject in t.subjects]
    whose = (first.task, roles, first.tenant, subjects, first.published, ended, list(_MANY))
    async with database.transaction(fresh_plans=True) as link:
        rows = await link.fetch(_sql("concerning"), *whose)
    return [_deed(row) for row in rows]


def _deed(row: "Record") -> DeedRecord:
    given = dict(row)
    given |= {"details": from_json(row["details"]), "tasks": tuple(row["tasks"])}
    return DeedRecord(**given)


def _sql(name: str) -> str:
    return statement("knowledge.history", name)
