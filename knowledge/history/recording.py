"""Events into tables: one transaction per batch, as a whole or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from contracts.events import TERMINAL, TOLD_BY_PUBLISHERS, Event, Kind
from knowledge.database.database import Database
from knowledge.database.errors import Unfitting
from knowledge.database.statements import statement
from knowledge.history.rows import COLUMNS, Row, Unrecordable, to_row

if TYPE_CHECKING:
    from knowledge.database.links import Link

_RUNS = frozenset(Kind) - TOLD_BY_PUBLISHERS
_MERGES = (
    ("runs", _RUNS),
    ("tasks", _RUNS | {Kind.REPLAYED}),
    ("published", {Kind.PUBLISHED}),
    ("results", TERMINAL),
    ("letters", {Kind.FAILED}),
    ("replays", {Kind.REPLAYED}),
)
"""Statements and the kinds of events they are about; they may be run in any order."""

_KIND = COLUMNS.index("kind")
_PUBLISHED = COLUMNS.index("published")
_NAMED = 10
"""Refused events that are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a batch. `fresh` events were not known before; `refused` ones could not be
    kept, and will not be when they are told again; `named` are the ids of some of these."""

    events: int = 0
    fresh: int = 0
    refused: int = 0
    named: tuple[str, ...] = ()

    def __add__(self, other: "Recorded") -> "Recorded":
        return Recorded(
            self.events + other.events,
            self.fresh + other.fresh,
            self.refused + other.refused,
            (self.named + other.named)[:_NAMED],
        )


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows, and the ids of their events."""

    rows: Sequence[Row]
    ids: Sequence[str]

    def halves(self) -> tuple["_Batch", "_Batch"]:
        half = len(self.rows) // 2
        return (
            _Batch(self.rows[:half], self.ids[:half]),
            _Batch(self.rows[half:], self.ids[half:]),
        )


async def record(database: Database, events: Sequence[Event], upto: float | None) -> Recorded:
    """See `History.record`."""
    batch, refused = _batch(events)
    return refused + await _keep(database, batch, upto)


def _batch(events: Sequence[Event]) -> tuple[_Batch, Recorded]:
    rows, ids = [], []
    refused = Recorded()
    for event in events:
        try:
            rows.append(to_row(event))
            ids.append(event.id)
        except Unrecordable:
            refused += _refused(event.id)
    return _Batch(rows, ids), refused


def _refused(event: str) -> Recorded:
    name = event[:200].encode("utf-8", "replace").decode()
    return Recorded(events=1, refused=1, named=(name,))


async def _keep(database: Database, batch: _Batch, upto: float | None) -> Recorded:
    """One transaction, or several around events that the database does not take; the watermark
    moves with the last."""
    try:
        async with database.transaction() as link:
            fresh = await _write(link, database.schema, batch.rows) if batch.rows else 0
            if upto is not None:
                await link.execute(_sql("upto"), upto)
            return Recorded(len(batch.rows), fresh)
    except Unfitting:
        if len(batch.rows) > 1:
            first, second = batch.halves()
            return await _keep(database, first, None) + await _keep(database, second, upto)
        if not batch.rows:
            raise
        return _refused(batch.ids[0]) + await _keep(database, _Batch((), ()), upto)


async def _write(link: "Link", schema: str, rows: Sequence[Row]) -> int:
    """The rows into all tables; answers how many events were new."""
    await link.execute(_sql("incoming"))
    await link.copy_records_to_table("incoming", records=rows, columns=COLUMNS)
    await link.execute(_sql("turn"), schema)
    if any(row[_PUBLISHED] == 0 for row in rows):
        await link.execute(_sql("unpublished"))
    fresh: int = await link.fetchval(_sql("events"))
    kinds = {row[_KIND] for row in rows}
    for name, of in _MERGES:
        if not of.isdisjoint(kinds):
            await link.execute(_sql(name))
    return fresh


def _sql(name: str) -> str:
    return statement("knowledge.history", name)
