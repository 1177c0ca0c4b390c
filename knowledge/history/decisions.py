"""What operators did, and what they decided about the dead."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from contracts.outcomes import Reason
from knowledge.database.database import Database
from knowledge.database.statements import statement
from knowledge.history.asking import DeathFilter, clean, cleaned, most, pattern, place, token
from knowledge.history.reading import watermark
from knowledge.history.records import Death, Deed, Fate, Page

if TYPE_CHECKING:
    from asyncpg import Record

    from knowledge.database.links import Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What an operator did, before it has a number and a time."""

    action: str
    by: str
    target: str
    details: Any = None
    outcome: str = "done"


async def note(database: Database, said: Note) -> int:
    """See `History.note`."""
    async with database.link() as link:
        return await _note(link, said)


async def _note(link: "Link", n: Note) -> int:
    texts = [clean(text) for text in (n.action, n.by, n.target)]
    number: int = await link.fetchval(_sql("note"), *texts, _json(n.details), clean(n.outcome))
    return number


async def decide(database: Database, task: str, role: str, fate: Fate, said: Note) -> bool:
    """See `History.decide`."""
    async with database.transaction() as link:
        await _note(link, said)
        arguments = cleaned(task, role, fate.value, said.by)
        dead = await link.fetchrow(_sql("decided"), *arguments)
    return dead is not None


async def deaths(database: Database, f: DeathFilter, after: str | None, limit: int) -> Page[Death]:
    """See `History.deaths`."""
    arguments = cleaned(
        *(f.task, f.role, f.tenant, f.reason, f.since, f.until, f.open, pattern(f.text)),
        *(*place(after, ((int, float), str, str, int)), most(limit) + 1),
    )
    async with database.transaction(fresh_plans=True) as link:
        mark = await watermark(link)
        rows = await link.fetch(_sql("died"), *arguments)
    found = [_death(row) for row in rows[:limit]]
    last = found[-1] if len(rows) > limit else None
    following = token(last.died, last.task, last.role, last.copy) if last else None
    return Page(found, following, mark.upto)


async def deeds(
    database: Database,
    who: tuple[str | None, str | None, str | None],
    span: tuple[float | None, float | None],
    after: str | None,
    limit: int,
) -> Page[Deed]:
    """See `History.audit`."""
    arguments = cleaned(*who, *span, *place(after, (int,)), most(limit) + 1)
    async with database.transaction(fresh_plans=True) as link:
        mark = await watermark(link)
        rows = await link.fetch(_sql("audited"), *arguments)
    found = _deeds(rows[:limit])
    return Page(found, token(found[-1].id) if len(rows) > limit else None, mark.now)


def _deeds(rows: Sequence["Record"]) -> Sequence[Deed]:
    return [Deed(**{**dict(row), "details": from_json(row["details"])}) for row in rows]


def _death(row: "Record") -> Death:
    given = dict(row)
    with suppress(ValueError):
        given["reason"] = Reason(row["reason"])
    given["fate"] = Fate(row["fate"]) if row["fate"] else None
    return Death(**given)


def _json(details: Any) -> str:
    try:
        return to_json(details, inf_nan_mode="null").decode()
    except (PydanticSerializationError, ValueError):
        return to_json(clean(repr(details))).decode()


def _sql(name: str) -> str:
    return statement("knowledge.history", name)
