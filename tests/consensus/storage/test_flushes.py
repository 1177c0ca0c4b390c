"""What is flushed to the disk, in what order: bytes, then their name, then what refers to them."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.raft.types import Entry, HardState, Kind
from consensus.storage import database
from consensus.storage.errors import Damaged, Stopped
from consensus.storage.meta import Mark, chain
from consensus.storage.opening import open_store, verify_folder
from consensus.storage.planning import Plan
from tests.consensus.storage.crashes import crash
from tests.consensus.storage.readies import (
    FIRST,
    SMALL,
    begin,
    image,
    meta_for,
    opened,
    ready,
    state_of,
)

META = meta_for(b"state", FIRST + 9, 1)


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files and folders that were flushed, but for those SQLite flushes."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs the names of open files, as Linux gives them")
    names: list[str] = []
    real: Callable[[int], None] = os.fsync

    def fsync(file: int) -> None:
        names.append(Path(f"/proc/self/fd/{file}").readlink().name)
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    return names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return begin(tmp_path / "node")


def test_a_beginning_is_flushed_step_by_step(folder: Path, flushed: list[str]) -> None:
    """The high-water file is there before the database, the database before the record goes."""
    open_store(folder, incarnation=1, limits=SMALL).close()
    assert flushed == ["high-water.new", "node", "node", "node", "high-water", "node"]


def test_a_saved_snapshot_is_flushed_with_its_name(folder: Path, flushed: list[str]) -> None:
    with opened(folder) as store:
        flushed.clear()
        store.save_snapshot(META, b"state")
        assert flushed == [f"snapshot-{META.index}-1-{META.crc:08x}.new", "node"]


def test_a_staged_snapshot_is_flushed_before_it_is_of_record(
    folder: Path, flushed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(folder) as store:
        store.stage(META, 0, b"state")
        flushed.clear()
        commit = database.COMMIT
        monkeypatch.setattr(database, "COMMIT", "no SQL: the process ends here")
        with pytest.raises(Stopped):
            store.write(ready(hard=HardState(1), snapshot=META, cut=META.index + 1))
        assert flushed == ["staging", "node"]
        monkeypatch.setattr(database, "COMMIT", commit)
    with opened(image(folder, folder.with_name("after"))) as store:
        assert store.boot.snapshot.index == FIRST - 1


def test_what_a_start_read_is_on_disk_again_before_it_is_used(tmp_path: Path) -> None:
    """A flush may have failed in the process before: what it left may be in memory only, and the
    next flush would not write it. So the log is folded into the database, which is flushed."""
    left = crash(tmp_path, seed=5, writes=20)
    with opened(left.folder):
        alone = image(left.folder, tmp_path / "alone")
    (alone / "ledger.db-wal").unlink()
    assert state_of(verify_folder(alone)) == left.after[left.last]


@pytest.mark.parametrize(
    ("entries", "wrong"),
    [
        ([Entry(FIRST, 2, Kind.NOOP), Entry(FIRST + 1, 1, Kind.NOOP)], "older term"),
        ([Entry(FIRST, 3, Kind.NOOP)], "above its own term 2"),
    ],
    ids=["falling terms", "a term above the own"],
)
def test_a_log_no_core_can_have_is_not_opened(
    folder: Path, entries: list[Entry], wrong: str
) -> None:
    """Even where every checksum is right."""
    store = open_store(folder, incarnation=1, limits=SMALL)
    store.write(ready(hard=HardState(2)))
    rows, mark = [], store._meta.last
    for entry in entries:
        mark = Mark(entry.index, entry.term, chain(entry, mark.chain))
        rows.append((entry.index, entry.term, int(entry.kind), entry.data, mark.chain))
    store._apply(Plan(None, None, rows, replace(store._meta, seq=store.seq + 1, last=mark)))
    with pytest.raises(Damaged, match=wrong):
        verify_folder(image(folder, folder.with_name("left")))
