"""Opens the folder of a node, or begins it, or says why it must not be used.

What is there is read first, and only read: a folder that is refused is left as it is.
"""

from contextlib import ExitStack
from pathlib import Path

from consensus.raft.types import HardState
from consensus.storage import database
from consensus.storage.checking import (
    ANYONE,
    DATABASE,
    WAL,
    WATER,
    Expected,
    check_empty,
    check_snapshot,
    inspect,
    judging,
    lock,
    open_water,
    read_record,
)
from consensus.storage.errors import Foreign, NotBegun
from consensus.storage.files import sync_folder
from consensus.storage.highwater import HighWater
from consensus.storage.meta import Contents, Mark, Meta, encode, encode_rest
from consensus.storage.record import Bootstrap
from consensus.storage.room import Room
from consensus.storage.snapshots import Snapshots
from consensus.storage.sqlite import Parts, SqliteStore
from consensus.storage.store import Identity, Limits, Seen

DEFAULTS = Limits()


def open_store(
    folder: Path, *, incarnation: int, expected: Expected = ANYONE, limits: Limits = DEFAULTS
) -> SqliteStore:
    """Open the store in `folder`; where there is none, begin the one its bootstrap record names.

    `incarnation` is drawn at random by the caller, anew for each call. Raises `Refused`, whose
    class says why; what a refused folder holds was not changed. Raises `Stopped` where the first
    transaction fails. Reads everything, and blocks as long as that takes.
    """
    with ExitStack() as held:
        locked = lock(folder)
        held.callback(locked.release)
        with judging(folder):
            found = read_record(folder, expected)
            if not (folder / DATABASE).exists():
                _begin(folder, found)
            contents = inspect(folder, expected)
            _check_record(folder, found, contents.meta.identity)
            water = open_water(folder)
            held.callback(water.close)
            _name_the_log(folder)
            sql = database.connect(folder / DATABASE)
        held.pop_all()
        snapshots, room = Snapshots(folder), Room(folder, limits)
        store = SqliteStore(Parts(folder, locked, sql, water, snapshots, room, limits), contents)
    store.begin(incarnation)
    return store


def verify_folder(folder: Path) -> Contents:
    """Read all of a store that no process has open, without changing it; raises as `open_store`."""
    locked = lock(folder)
    try:
        return inspect(folder)
    finally:
        locked.release()


def _begin(folder: Path, found: Bootstrap | None) -> None:
    """Make the database of a new node, so that it is there as a whole or not at all."""
    check_empty(folder, found)
    if found is None:
        raise NotBegun(folder, "it holds neither a ledger nor a bootstrap record")
    check_snapshot(folder, found.snapshot)
    if not (folder / WATER).exists():
        HighWater.begin(folder / WATER, found.node).close()
    fresh = folder / f"{DATABASE}.new"
    for path in folder.glob(f"{fresh.name}*"):
        path.unlink()
    database.make(fresh, _first_row(found))
    fresh.rename(folder / DATABASE)
    sync_folder(folder)


def _name_the_log(folder: Path) -> None:
    """Make sure of the name of the write-ahead log on disk: SQLite flushes it, too, when it begins
    one, but does not look whether that succeeded."""
    (folder / WAL).touch()
    sync_folder(folder)


def _first_row(found: Bootstrap) -> bytes:
    snapshot = found.snapshot
    members = snapshot.configuration.members
    peers = {member.id: Seen() for member in members if member.id != found.node}
    who = Identity(found.cluster, found.node, 0)
    last = Mark(snapshot.index, snapshot.term, 0)
    meta = Meta(who, 1, HardState(), last, snapshot, 0)
    return encode(meta, encode_rest(snapshot, 0, peers))


def _check_record(folder: Path, found: Bootstrap | None, who: Identity) -> None:
    if found is not None and (found.cluster, found.node) != (who.cluster, who.node):
        raise Foreign(
            folder, f"a bootstrap record of node {found.node} lies in the folder of {who.node}"
        )
