"""Backups: consistent copies that cannot come back as the node they are of."""

import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.raft.types import Configuration, HardState, Member
from consensus.storage.backup import read_backup, restore
from consensus.storage.errors import BackupRefused, Damaged, NotBegun, Refused, WentBack
from consensus.storage.opening import open_store
from consensus.storage.record import Bootstrap, write_record
from tests.consensus.storage.readies import (
    CLUSTER,
    FIRST,
    NODE,
    RECORD,
    SMALL,
    begin,
    commands,
    meta_for,
    opened,
    ready,
)

STATE = b"the state after the last entry"
LATER = FIRST + 1000
NEW = Bootstrap(
    CLUSTER + 1,
    4000,
    Configuration((Member(4000, "new:1"),)),
    LATER,
    len(STATE),
    zlib.crc32(STATE),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with a snapshot, entries after it, and more in the write-ahead log."""
    with opened(begin(tmp_path / "node")) as store:
        store.write(ready(*commands(FIRST, 20), hard=HardState(1)))
        meta = meta_for(b"state", FIRST + 4, 1)
        store.save_snapshot(meta, b"state")
        store.write(ready(snapshot=meta))
    return tmp_path / "node"


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A backup that was taken between two writes."""
    with opened(folder) as store:
        store.write(ready(*commands(FIRST + 20, 1)))
        store.backup(tmp_path / "backup")
        store.write(ready(*commands(FIRST + 21, 1), hard=HardState(2, NODE)))
    return tmp_path / "backup"


def test_a_backup_is_what_was_durable_then(copy: Path, folder: Path) -> None:
    found = read_backup(copy)
    assert tuple(found.contents.entries) == commands(FIRST + 5, 16)
    assert found.contents.meta.hard == HardState(1)
    assert found.state == b"state"
    with opened(folder) as store:
        assert tuple(store.boot.entries) == commands(FIRST + 5, 17)


def test_a_backup_is_not_opened_as_a_node(copy: Path) -> None:
    """It would have forgotten what its node voted and acknowledged since."""
    with pytest.raises(WentBack):
        open_store(copy, incarnation=1, limits=SMALL)
    write_record(copy, RECORD)
    with pytest.raises(WentBack):
        open_store(copy, incarnation=1, limits=SMALL)


def test_a_backup_needs_a_new_folder(copy: Path, folder: Path) -> None:
    with opened(folder) as store:
        with pytest.raises(BackupRefused, match="exists"):
            store.backup(copy)
        with pytest.raises(BackupRefused, match="could not be written"):
            store.backup(folder / "ledger.db" / "below a file")
        store.write(ready(hard=HardState(3)))


@pytest.mark.parametrize("name", ["ledger.db", "snapshot-*"])
def test_a_damaged_backup_is_not_read(copy: Path, name: str) -> None:
    (file,) = copy.glob(name)
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    with pytest.raises(Damaged):
        read_backup(copy)
    file.unlink()
    with pytest.raises(Refused):
        read_backup(copy)


def test_a_backup_comes_back_as_a_new_cluster(copy: Path, tmp_path: Path) -> None:
    """Its log begins above every token of the old one, at the state its entries led to."""
    restore(read_backup(copy), tmp_path / "new", NEW, STATE)
    with opened(tmp_path / "new") as store:
        assert (store.identity.cluster, store.identity.node) == (NEW.cluster, NEW.node)
        assert store.boot.snapshot == NEW.snapshot
        assert store.boot.snapshot.index == LATER - 1
        assert store.read_snapshot(NEW.snapshot, 0, 100) == STATE
        store.write(ready(*commands(LATER, 1), hard=HardState(1)))
    with opened(tmp_path / "new") as store:
        assert tuple(store.boot.entries) == commands(LATER, 1)


WRONG = {
    "the old cluster": replace(NEW, cluster=CLUSTER),
    "the old node": replace(NEW, node=NODE, configuration=Configuration((Member(NODE, "x:1"),))),
    "an old peer": replace(
        NEW, node=NODE + 2, configuration=Configuration((Member(NODE + 2, "x:1"),))
    ),
    "an old index": replace(NEW, first_index=FIRST + 20),
    "another state": replace(NEW, crc=5),
    "more than one node": replace(
        NEW, configuration=Configuration((Member(4000, "x:1"), Member(4001, "y:1")))
    ),
    "no configuration": Bootstrap(CLUSTER + 1, 4000),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_nothing_of_the_old_cluster_comes_back(
    copy: Path, tmp_path: Path, wrong: Bootstrap
) -> None:
    with pytest.raises(BackupRefused):
        restore(read_backup(copy), tmp_path / "new", wrong, STATE)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_has_something_is_not_restored_into(
    copy: Path, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(BackupRefused, match="not empty"):
        restore(read_backup(copy), folder, NEW, STATE)


def test_a_restored_folder_without_its_state_does_not_begin(copy: Path, tmp_path: Path) -> None:
    restore(read_backup(copy), tmp_path / "new", NEW, STATE)
    (file,) = (tmp_path / "new").glob("snapshot-*")
    file.unlink()
    with pytest.raises((Damaged, NotBegun)):
        open_store(tmp_path / "new", incarnation=1, limits=SMALL)
