"""Events into tables: one transaction per batch, as a whole or not at all."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from contracts.events import OF_AUCTIONS, OF_NO_RUN, TERMINAL, Event, Kind
from knowledge.database.database import Database
from knowledge.database.errors import Unfitting
from knowledge.database.statements import statement
from knowledge.history.records import Recorded
from knowledge.history.rows import COLUMNS, Row, Unrecordable, to_row

if TYPE_CHECKING:
    from knowledge.database.links import Link

_RUNS = frozenset(Kind) - OF_NO_RUN
_MERGES = (
    ("runs", _RUNS),
    ("tasks", _RUNS | OF_AUCTIONS | {Kind.REPLAYED}),
    ("published", {Kind.PUBLISHED}),
    ("results", TERMINAL),
    ("letters", {Kind.FAILED}),
    ("replays", {Kind.REPLAYED}),
)
"""Statements and the kinds of events they are about; they may be run in any order."""

_KIND = COLUMNS.index("kind")
_PUBLISHED = COLUMNS.index("published")

EVENTS = 2000
"""Events of one transaction at most: more are not written faster, only held for longer."""

BYTES = 8 * 1024 * 1024
"""Of payloads and results in one transaction, roughly: as much as a connection keeps in memory."""

_HANDS = 2
"""Transactions under way: one is prepared and copied while the other is merged."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """Events and their rows."""

    rows: Sequence[Row]
    events: Sequence[Event]

    def halves(self) -> tuple["_Batch", "_Batch"]:
        half = len(self.rows) // 2
        return (
            _Batch(self.rows[:half], self.events[:half]),
            _Batch(self.rows[half:], self.events[half:]),
        )


async def record(database: Database, events: Sequence[Event], upto: float | None) -> Recorded:
    """See `History.record`."""
    parts = list(_parts(events))
    if len(parts) <= 1:
        return await _record(database, events, upto)
    recorded = await _record_all(database, parts)
    return recorded + await _record(database, (), upto)


def _parts(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """`events` in order, as many at a time as one transaction may have."""
    begin = size = 0
    for number, event in enumerate(events):
        if number - begin == EVENTS or size > BYTES:
            yield events[begin:number]
            begin, size = number, 0
        bodies = (event.data.get("payload"), event.data.get("result"))
        size += sum(len(body) for body in bodies if isinstance(body, str))
    if events:
        yield events[begin:]


async def _record_all(database: Database, parts: Sequence[Sequence[Event]]) -> Recorded:
    """Each part in a transaction; when one fails the others under way are given up, too."""
    left = iter(parts)

    async def work() -> Recorded:
        done = Recorded()
        for part in left:
            done += await _record(database, part, None)
        return done

    hands = [asyncio.create_task(work()) for _ in range(_HANDS)]
    try:
        return sum(await asyncio.gather(*hands), Recorded())
    finally:
        for hand in hands:
            hand.cancel()
        await asyncio.gather(*hands, return_exceptions=True)


async def _record(database: Database, events: Sequence[Event], upto: float | None) -> Recorded:
    batch, refused = _batch(events)
    return refused + await _keep(database, batch, upto)


def _batch(events: Sequence[Event]) -> tuple[_Batch, Recorded]:
    rows, kept = [], []
    refused = Recorded()
    for event in events:
        try:
            rows.append(to_row(event))
            kept.append(event)
        except Unrecordable:
            refused += _refused(event)
    return _Batch(rows, kept), refused


def _refused(event: Event) -> Recorded:
    name = event.id[:200].encode("utf-8", "replace").decode()
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
        return _refused(batch.events[0]) + await _keep(database, _Batch((), ()), upto)


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
