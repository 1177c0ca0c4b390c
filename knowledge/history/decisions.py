"""Tasks that became dead letters, and what people decided about them."""

from contextlib import suppress
from typing import TYPE_CHECKING

from contracts.outcomes import Reason
from knowledge.database.database import Database
from knowledge.database.statements import statement
from knowledge.history.asking import DeathFilter, cleaned, most, pattern, place, token
from knowledge.history.reading import watermark
from knowledge.history.records import Death, Fate, Page

if TYPE_CHECKING:
    from asyncpg import Record


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


def _death(row: "Record") -> Death:
    given = dict(row)
    with suppress(ValueError):
        given["reason"] = Reason(row["reason"])
    given["fate"] = Fate(row["fate"]) if row["fate"] else None
    return Death(**given)


def _sql(name: str) -> str:
    return statement("knowledge.history", name)
