"""Whether the folder of a node may be used. Everything is read, nothing is changed."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from consensus.raft.types import NodeId, SnapshotMeta
from consensus.storage import database, record
from consensus.storage.errors import (
    Broken,
    Damaged,
    Foreign,
    InUse,
    Newer,
    NotBegun,
    UnknownFormat,
    Unreadable,
    WentBack,
)
from consensus.storage.highwater import HighWater
from consensus.storage.meta import Contents
from consensus.storage.record import Bootstrap
from consensus.storage.snapshots import Snapshots
from consensus.storage.store import ClusterId

DATABASE = "ledger.db"
WAL = f"{DATABASE}-wal"
WATER = "high-water"
_LOCK = "lock"
_NOT_DAMAGE = (
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_NOMEM,
)


@dataclass(frozen=True, slots=True)
class Expected:
    """Whose folder the caller takes it for; None where any will do."""

    cluster: ClusterId | None = None
    node: NodeId | None = None


ANYONE = Expected()


def lock(folder: Path) -> BaseFileLock:
    """Hold the folder until the lock is released or the process ends; `InUse` if it is held."""
    if not folder.exists():
        raise NotBegun(folder, "there is no such folder")
    held = FileLock(folder / _LOCK, timeout=0, thread_local=False)
    try:
        held.acquire()
    except Timeout as error:
        raise InUse(folder) from error
    except OSError as error:
        raise Unreadable(folder, str(error)) from error
    return held


@contextmanager
def judging(folder: Path) -> Iterator[None]:
    """Let whatever cannot be read or is not as it was written be a refusal."""
    try:
        yield
    except Broken as error:
        raise Damaged(folder, str(error)) from error
    except UnknownFormat as error:
        raise Newer(folder, str(error)) from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise InUse(folder) from error
        kind = Unreadable if code in _NOT_DAMAGE else Damaged
        raise kind(folder, f"SQLite: {error}") from error
    except OSError as error:
        raise Unreadable(folder, str(error)) from error


def inspect(folder: Path, expected: Expected = ANYONE) -> Contents:
    """Everything in a folder that holds a database and that nobody uses; see `open_store` for what
    is raised."""
    water = open_water(folder)
    water.close()
    with judging(folder), database.reading(folder / DATABASE) as sql:
        contents = database.read(sql)
    meta = contents.meta
    if water.node != meta.identity.node:
        raise Foreign(folder, f"its high-water file is of node {water.node}")
    if meta.seq < water.seq:
        raise WentBack(
            folder,
            f"its database ends at transaction {meta.seq}, and {water.seq} were made durable",
        )
    _check_expected(folder, expected, meta.identity.cluster, meta.identity.node)
    check_snapshot(folder, meta.snapshot)
    return contents


def open_water(folder: Path) -> HighWater:
    """The high-water file beside a database."""
    with judging(folder):
        try:
            return HighWater(folder / WATER)
        except FileNotFoundError as error:
            raise WentBack(folder, "the high-water file beside its database is missing") from error


def read_record(folder: Path, expected: Expected) -> Bootstrap | None:
    """The bootstrap record in a folder; None if there is none."""
    try:
        found = record.decode((folder / record.NAME).read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise NotBegun(folder, f"its bootstrap record is damaged: {error}") from error
    except OSError as error:
        raise Unreadable(folder, str(error)) from error
    _check_expected(folder, expected, found.cluster, found.node)
    return found


def check_empty(folder: Path, found: Bootstrap | None) -> None:
    """Nothing in a folder without a database may be of one that was there before."""
    given = Snapshots(folder).path(found.snapshot) if found and found.size else None
    left = [path.name for path in sorted(folder.glob("snapshot-*")) if path != given]
    if (folder / WAL).exists():
        left.append(WAL)
    if (folder / WATER).exists():
        water = open_water(folder)
        water.close()
        if found and water.node != found.node:
            raise Foreign(folder, f"its high-water file is of node {water.node}")
        left += [f"a {WATER} mark of transaction {water.seq}"] * (water.seq > 0)
    if left:
        raise WentBack(folder, f"its database is missing; there is {', '.join(left)}")


def check_snapshot(folder: Path, meta: SnapshotMeta) -> None:
    """The bytes of a snapshot must be there and whole."""
    with judging(folder):
        Snapshots(folder).check(meta)


def _check_expected(folder: Path, expected: Expected, cluster: ClusterId, node: NodeId) -> None:
    if expected.cluster not in {None, cluster}:
        raise Foreign(folder, f"it is of cluster {cluster}, not of {expected.cluster}")
    if expected.node not in {None, node}:
        raise Foreign(folder, f"it is of node {node}, not of {expected.node}")
