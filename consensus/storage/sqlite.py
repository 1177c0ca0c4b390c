"""The store of a node on SQLite: one transaction for each Ready, one flush for each transaction.

After the commit, which flushes the write-ahead log, and before the call returns, the number of the
transaction goes into the high-water file.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from filelock import BaseFileLock

from consensus.raft.errors import NoSpace
from consensus.raft.ready import Ready
from consensus.raft.types import BootState, Entry, Index, NodeId, SnapshotMeta
from consensus.storage import database, record
from consensus.storage.backup import write_backup
from consensus.storage.checking import judging
from consensus.storage.errors import Broken, PeerWentBack, Refused, Stopped
from consensus.storage.files import sync_folder
from consensus.storage.highwater import HighWater
from consensus.storage.meta import Contents, Mark, Meta, encode, encode_rest
from consensus.storage.planning import Breach, Plan, changes_nothing, plan, used_by
from consensus.storage.room import Room
from consensus.storage.snapshots import Snapshots, matches
from consensus.storage.store import Identity, Limits, Seen, Space, Staged, Verified

_PAGE = 4096
_ROW = 32
"""About what a row takes beside its data."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a store consists of once its folder is open; all of it is the store's from then on."""

    folder: Path
    lock: BaseFileLock
    sql: sqlite3.Connection
    water: HighWater
    snapshots: Snapshots
    room: Room
    limits: Limits


class SqliteStore:
    """See `Store`. `opening.open_store` makes it."""

    def __init__(self, parts: Parts, contents: Contents) -> None:
        self._parts = parts
        self._sql = parts.sql
        self._water = parts.water
        self._snapshots = parts.snapshots
        self._meta = contents.meta
        self._peers = dict(contents.peers)
        self._rest: bytes | None = None
        self._dirty = False
        self._written = 0
        self._failure: BaseException | None = None
        self._guard = Lock()
        self._boot: BootState | None = contents.boot

    @property
    def identity(self) -> Identity:
        return self._meta.identity

    @property
    def boot(self) -> BootState:
        if self._boot is None:
            with self._fatal("read its log"), judging(self._parts.folder):
                return database.read(self._sql).boot
        return self._boot

    @property
    def seq(self) -> int:
        return self._meta.seq

    @property
    def snapshot(self) -> SnapshotMeta:
        return self._meta.snapshot

    @property
    def peers(self) -> Mapping[NodeId, Seen]:
        with self._guard:
            return dict(self._peers)

    def begin(self, incarnation: int) -> None:
        """The first transaction of a life; all of the write-ahead log is in the database then.

        A process before this one may have seen a flush fail. The system then keeps in memory, and
        shows, what is not on disk and never will be. What is written again is.
        """
        with self._fatal("open its log"):
            self._snapshots.adopt(self._meta.snapshot)
            self._parts.room.hold()
            self._commit(
                replace(self._meta, identity=replace(self.identity, incarnation=incarnation))
            )
            database.checkpoint(self._sql)
            self._water.flush()
            self._take_record_away()

    def write(self, ready: Ready) -> int:
        with self._fatal("write its log"):
            if changes_nothing(ready):
                return self._meta.seq
            if ready.snapshot is not None:
                self._snapshots.install(ready.snapshot)
            change = plan(self._meta, ready, self._mark)
            self._boot = None
            self._use(used_by(ready))
            self._apply(change)
            if self._written >= self._parts.limits.checkpoint:
                database.checkpoint(self._sql)
                self._written = 0
        return self._meta.seq

    def saw(self, node: NodeId, incarnation: int, seq: int) -> None:
        self._check_running()
        now = Seen(incarnation, seq)
        with self._guard:
            seen = self._peers.get(node, Seen())
            if seq < seen.seq:
                raise PeerWentBack(node, seen.seq, seq)
            if now != seen:
                self._peers[node] = now
                self._dirty = True

    def write_peers(self) -> int:
        with self._fatal("note what its peers have"):
            if self._dirty:
                self._commit(self._meta)
        return self._meta.seq

    def save_snapshot(self, meta: SnapshotMeta, data: bytes) -> None:
        if not matches(meta, data):
            raise ValueError("the bytes of a snapshot have another size or CRC-32")
        with self._fatal("save a snapshot"):
            self._parts.room.require(len(data))
            self._snapshots.save(meta, data)

    def stage(self, meta: SnapshotMeta, offset: int, data: bytes) -> Staged:
        with self._fatal("stage a snapshot"):
            self._parts.room.require(len(data) if offset else meta.size)
            return self._snapshots.stage(meta, offset, data)

    def read_snapshot(self, meta: SnapshotMeta, offset: int, length: int) -> bytes:
        self._check_running()
        try:
            return self._snapshots.read(meta, offset, length)
        except OSError as error:
            raise self._stop("read a snapshot", error) from error

    def drop_snapshots(self, keep: Sequence[Index]) -> None:
        with self._fatal("remove old snapshots"):
            self._snapshots.drop(self._meta.snapshot.index, keep)

    def entries(self, first: Index, stop: Index, max_bytes: int) -> list[Entry]:
        if not self._meta.snapshot.index < first <= self._meta.last.index:
            raise LookupError(f"entry {first} is not in the log")
        found: list[Entry] = []
        with (
            self._fatal("read its log"),
            judging(self._parts.folder),
            closing(self._sql.execute(database.SOME, (first, stop))) as rows,
        ):
            for entry, _ in database.follow(rows, self._mark(first - 1)):
                max_bytes -= len(entry.data)
                if found and max_bytes < 0:
                    break
                found.append(entry)
        return found

    def space(self) -> Space:
        return self._parts.room.space()

    def let_ballast_go(self) -> None:
        with self._fatal("let its ballast go"):
            self._parts.room.let_go()

    def shrink(self) -> None:
        with self._fatal("shrink its log"):
            self._sql.executescript(database.BEGIN_VACUUM)
            self._finish(replace(self._meta, seq=self._meta.seq + 1))
            database.checkpoint(self._sql, "TRUNCATE")
            self._written = 0
            self._parts.room.hold()

    def verify(self) -> Verified:
        with self._fatal("verify its log"), judging(self._parts.folder):
            found = database.read(self._sql)
            rest = encode_rest(found.meta.snapshot, found.meta.anchor, found.peers)
            if (found.meta, rest) != (self._meta, self._rest):
                raise Broken("the meta row is not the one that was written last")
            if self._water.read() != self._meta.seq:
                raise Broken("the high-water mark is not the one that was written last")
            self._snapshots.check(self._meta.snapshot)
        sizes = sum(len(entry.data) for entry in found.entries)
        return Verified(found.meta.seq, len(found.entries), sizes, found.meta.snapshot.size)

    def backup(self, target: Path) -> None:
        self._check_running()
        write_backup(self._sql, self._snapshots.path(self._meta.snapshot), target)

    def close(self) -> None:
        if self._failure is None:
            with self._fatal("close its log"):
                database.checkpoint(self._sql, "TRUNCATE")
                self._sql.close()
                self._snapshots.forget_staging()
                self._water.close()
                self._parts.lock.release()
            self._failure = ValueError("it was closed")

    def _take_record_away(self) -> None:
        path = self._parts.folder / record.NAME
        if path.exists():
            path.unlink()
            sync_folder(path.parent)

    def _use(self, ids: Iterator[NodeId]) -> None:
        with self._guard:
            for node in ids:
                if node not in self._peers and node != self._meta.identity.node:
                    self._peers[node] = Seen()
                    self._dirty = True

    def _mark(self, index: Index) -> Mark:
        if index == self._meta.last.index:
            return self._meta.last
        if index == self._meta.snapshot.index:
            return self._meta.base
        row = self._sql.execute(database.MARK, (index,)).fetchone()
        if row is None:
            raise Breach(f"there is no entry {index} in the log")
        return Mark(index, *row)

    def _commit(self, meta: Meta) -> None:
        """A transaction that leaves the log alone."""
        self._apply(Plan(None, None, [], replace(meta, seq=meta.seq + 1)))

    def _apply(self, change: Plan) -> None:
        sql = self._sql
        sql.execute(database.BEGIN)
        if change.delete_to is not None:
            sql.execute(database.DELETE_TO, (change.delete_to,))
        if change.delete_from is not None:
            sql.execute(database.DELETE_FROM, (change.delete_from,))
        if change.rows:
            sql.executemany(database.INSERT, change.rows)
        self._written += 2 * _PAGE + sum(len(row[3]) + _ROW for row in change.rows)
        self._finish(change.meta)

    def _finish(self, meta: Meta) -> None:
        with self._guard:
            same = meta.snapshot is self._meta.snapshot and meta.anchor == self._meta.anchor
            if self._rest is None or self._dirty or not same:
                self._rest = encode_rest(meta.snapshot, meta.anchor, self._peers)
            self._dirty = False
        self._sql.execute(database.UPDATE, (encode(meta, self._rest),))
        self._sql.execute(database.COMMIT)
        self._water.rise(meta.seq)
        self._meta = meta

    @contextmanager
    def _fatal(self, doing: str) -> Iterator[None]:
        """Whatever goes wrong in here is the end of this store."""
        self._check_running()
        try:
            yield
        except NoSpace:
            raise
        except Refused as refused:
            self._failure = refused
            raise
        except Exception as error:
            raise self._stop(doing, error) from error
        except BaseException as error:
            self._failure = error
            raise

    def _stop(self, doing: str, cause: Exception) -> Stopped:
        self._failure = cause
        return Stopped(doing, cause)

    def _check_running(self) -> None:
        if self._failure is not None:
            raise Stopped("do anything after it had failed", self._failure) from self._failure
