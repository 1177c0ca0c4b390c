"""The SQL of a store: its tables, its settings, and how everything in them is read and checked."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from consensus.raft.types import Entry, Index, Kind
from consensus.storage.errors import Broken
from consensus.storage.meta import Contents, Mark, chain, decode

BEGIN = "BEGIN IMMEDIATE"
COMMIT = "COMMIT"
INSERT = "INSERT INTO log (place, term, kind, data, chain) VALUES (?, ?, ?, ?, ?)"
DELETE_TO = "DELETE FROM log WHERE place <= ?"
DELETE_FROM = "DELETE FROM log WHERE place >= ?"
UPDATE = "UPDATE meta SET body = ? WHERE id = 1"
MARK = "SELECT term, chain FROM log WHERE place = ?"
SOME = (
    "SELECT place, term, kind, data, chain FROM log WHERE place >= ? AND place < ? ORDER BY place"
)
BEGIN_VACUUM = f"{BEGIN}; PRAGMA incremental_vacuum"
"""For `executescript`: `execute` would free one page only."""

_MODES = slice(18, 20)
_WAL_MODES = b"\x02\x02"
"""How SQLite is to write and read it: "Database File Format", section 1.3.3."""

_ALL = "SELECT place, term, kind, data, chain FROM log ORDER BY place"
_LOG_TABLE = (
    "CREATE TABLE log (place INTEGER PRIMARY KEY, term INTEGER NOT NULL, kind INTEGER NOT NULL,"
    " data BLOB NOT NULL, chain INTEGER NOT NULL)"
)
_META_TABLE = "CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), body BLOB NOT NULL)"
_SETTINGS = (
    # Before any other: the write-ahead log then needs no shared memory, and no process comes
    # between.
    "locking_mode = EXCLUSIVE",
    "journal_mode = WAL",
    "synchronous = FULL",
    "fullfsync = ON",
    "checkpoint_fullfsync = ON",
    # SQLite keeps the error of an automatic checkpoint to itself; `checkpoint` raises it.
    "wal_autocheckpoint = 0",
    "cell_size_check = ON",
    # What is deleted need not be overwritten: that would write every page of a compacted log.
    "secure_delete = OFF",
)


_KINDS = tuple(map(int, Kind))


def connect(path: Path, *first: str) -> sqlite3.Connection:
    """Open a database to write, alone and with every setting a store relies on, those of `first`
    before any other. Threads may take turns; a lock that is held elsewhere is an error at once."""
    sql = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        for setting in (*first, *_SETTINGS):
            sql.execute(f"PRAGMA {setting}").fetchall()
    except BaseException:
        sql.close()
        raise
    return sql


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A database to read only: nothing in it is changed, its write-ahead log stays as it is.

    `Broken` for one that SQLite would read without its write-ahead log, or not write again.
    """
    with path.open("rb") as file:
        if file.read(20)[_MODES] != _WAL_MODES:
            raise Broken("its first page does not say that it has a write-ahead log")
    address = f"{path.absolute().as_uri()}?mode=ro"
    beside = [path.with_name(f"{path.name}-{name}") for name in ("wal", "shm")]
    added = [one for one in beside if not one.exists()]
    try:
        with closing(sqlite3.connect(address, timeout=0, isolation_level=None, uri=True)) as sql:
            yield sql
    finally:
        for one in added:
            one.unlink(missing_ok=True)


def make(path: Path, row: bytes) -> None:
    """Make a new database with its first row: whole and flushed when this returns, and without a
    write-ahead log."""
    with closing(connect(path, "auto_vacuum = INCREMENTAL")) as sql:  # for `shrink`
        sql.execute(BEGIN)
        sql.execute(_LOG_TABLE)
        sql.execute(_META_TABLE)
        sql.execute("INSERT INTO meta (id, body) VALUES (1, ?)", (row,))
        sql.execute(COMMIT)
        checkpoint(sql, "TRUNCATE")


def checkpoint(sql: sqlite3.Connection, mode: str = "PASSIVE") -> None:
    """Fold the write-ahead log into the database and flush it; `sqlite3.Error` if that fails."""
    busy, frames, done = sql.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    if busy or frames != done:
        raise sqlite3.OperationalError(f"a checkpoint stopped at {done} of {frames} pages")


def read(sql: sqlite3.Connection) -> Contents:
    """Everything, with every checksum checked.

    Raises `Broken` where something is not as it was written, `sqlite3.Error` as SQLite does.
    """
    problems = [row[0] for row in sql.execute("PRAGMA integrity_check(3)")]
    if problems != ["ok"]:
        raise Broken(f"SQLite finds it malformed: {'; '.join(map(str, problems))}")
    rows = sql.execute("SELECT body FROM meta").fetchall()
    if len(rows) != 1 or not isinstance(rows[0][0], bytes):
        raise Broken("it has no meta row")
    meta, peers = decode(rows[0][0])
    entries: list[Entry] = []
    last = meta.base
    for entry, mark in follow(sql.execute(_ALL), last):
        entries.append(entry)
        last = mark
    if last != meta.last:
        raise Broken(f"its log ends at entry {last.index}, and must end at {meta.last.index}")
    if last.term > meta.hard.term:
        raise Broken(f"its log is of term {last.term}, above its own term {meta.hard.term}")
    return Contents(meta, peers, entries)


def follow(rows: Iterable[tuple[object, ...]], before: Mark) -> Iterator[tuple[Entry, Mark]]:
    """The entries of these rows, which must follow `before` without a gap; `Broken` if not."""
    for place, term, kind, data, crc in rows:
        entry = _entry(before.index + 1, (place, term, kind, data))
        mark = Mark(entry.index, entry.term, chain(entry, before.chain))
        if mark.chain != crc:
            raise Broken(f"the checksum of entry {entry.index} is wrong")
        if entry.term < before.term:
            raise Broken(f"entry {entry.index} is of an older term than the one before it")
        yield entry, mark
        before = mark


def _entry(expected: Index, row: tuple[object, ...]) -> Entry:
    match row:
        case (int(place), int(term), int(kind), bytes(data)) if place == expected and term >= 0:
            if kind in _KINDS:
                return Entry(place, term, Kind(kind), data)
    raise Broken(f"entry {expected} is missing, or not an entry")
