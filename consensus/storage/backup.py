"""Copies of a ledger: how one is written, and what becomes of it.

A backup is a folder with the database and its snapshot, and without a high-water file: put in the
place of a node's folder it is refused, for a node that goes back can vote twice. What it holds
comes to life only as a new cluster: new ids, and a first index above every one it ever used.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from consensus.storage import database
from consensus.storage.checking import DATABASE, check_snapshot, judging
from consensus.storage.errors import BackupRefused
from consensus.storage.files import sync, sync_folder, write_durably
from consensus.storage.meta import Contents
from consensus.storage.record import Bootstrap, write_record
from consensus.storage.snapshots import Snapshots, matches

_NEW = (
    "make a record with new ids for cluster and node, and the time now as its first index",
    "let the nodes of the old cluster never run again",
)


def write_backup(sql: sqlite3.Connection, snapshot: Path, target: Path) -> None:
    """Copy a store that is open into the new folder `target`, which is there as a whole or not at
    all. Raises `BackupRefused`; the store goes on."""
    fresh = target.with_name(f"{target.name}.new")
    elsewhere = ("name a folder that does not exist yet, on a disk with room",)
    if target.exists():
        raise BackupRefused(f"{target} exists", elsewhere)
    try:
        fresh.mkdir(parents=True)
        with closing(sqlite3.connect(fresh / DATABASE, isolation_level=None)) as copy:
            sql.backup(copy)
        with (fresh / DATABASE).open("rb") as file:
            sync(file.fileno())
        if snapshot.exists():
            write_durably(fresh / snapshot.name, snapshot.read_bytes())
        sync_folder(fresh)
        fresh.rename(target)
        sync_folder(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise BackupRefused(f"it could not be written: {error}", elsewhere) from error


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds, all of it checked; `state` are the bytes of its snapshot."""

    contents: Contents
    state: bytes


def read_backup(source: Path) -> Backup:
    """Read a backup; raises `Damaged` or `Unreadable`."""
    with judging(source), database.reading(source / DATABASE) as sql:
        contents = database.read(sql)
    snapshot = contents.meta.snapshot
    check_snapshot(source, snapshot)
    state = Snapshots(source).path(snapshot).read_bytes() if snapshot.size else b""
    return Backup(contents, state)


def restore(backup: Backup, folder: Path, record: Bootstrap, state: bytes) -> None:
    """Let the empty `folder` begin the first node of a new cluster from `state`: what the state
    machine is after the backup's snapshot and the entries after it.

    Raises `BackupRefused`, before anything is written, for a record with an id the old cluster
    used, with its cluster's id, or with a first index that would let tokens go back; for a folder
    that is not empty; for a state that is not the record's.
    """
    meta = backup.contents.meta
    if record.configuration is None or not matches(record.snapshot, state):
        raise BackupRefused("the record is not of a new cluster with this state", _NEW)
    if record.cluster == meta.identity.cluster:
        raise BackupRefused("the new cluster has the id of the old one", _NEW)
    used = {meta.identity.node, *backup.contents.peers}
    if clash := [member.id for member in record.configuration.members if member.id in used]:
        raise BackupRefused(f"the old cluster had nodes of these ids: {clash}", _NEW)
    if record.first_index <= meta.last.index:
        raise BackupRefused(f"its first index is not above {meta.last.index}", _NEW)
    if len(record.configuration.members) != 1:
        raise BackupRefused("only one node has the state: the others join it", _NEW)
    if folder.exists() and any(folder.iterdir()):
        raise BackupRefused(f"{folder} is not empty", ("name an empty folder",))
    folder.mkdir(parents=True, exist_ok=True)
    Snapshots(folder).save(record.snapshot, state)
    write_record(folder, record)
