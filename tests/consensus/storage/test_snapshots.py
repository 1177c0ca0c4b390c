"""The bytes of snapshots: saved, staged from a leader in parts, read in slices, removed."""

from pathlib import Path

import pytest

from consensus.raft.errors import NoSpace
from consensus.raft.types import HardState, SnapshotMeta
from consensus.storage.errors import Stopped
from consensus.storage.opening import open_store
from consensus.storage.store import Limits, Staged
from tests.consensus.storage.readies import (
    FIRST,
    SMALL,
    begin,
    commands,
    meta_for,
    opened,
    ready,
)

DATA = bytes(range(256)) * 40
META = meta_for(DATA, FIRST + 9, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with opened(begin(tmp_path / "node")) as store:
        store.write(ready(*commands(FIRST, 20), hard=HardState(1)))
    return tmp_path / "node"


def test_parts_in_order_make_the_whole(folder: Path) -> None:
    with opened(folder) as store:
        assert store.stage(META, 0, DATA[:4000]).length == 4000
        assert store.stage(META, 4000, DATA[4000:9000]).length == 9000
        assert store.stage(META, 9000, DATA[9000:]) == Staged(META.size, META.crc)
        store.write(ready(snapshot=META, cut=META.index + 1))
    with opened(folder) as store:
        assert store.read_snapshot(store.snapshot, 0, len(DATA)) == DATA
        assert list(folder.glob("staging")) == []


def test_a_part_that_comes_twice_or_too_early_changes_nothing(folder: Path) -> None:
    with opened(folder) as store:
        first = store.stage(META, 0, DATA[:4000])
        assert store.stage(META, 0, DATA[:4000]) == first
        assert store.stage(META, 9000, DATA[9000:]) == first
        assert store.stage(META, 3999, DATA[3999:5000]) == first
        assert store.stage(META, 4000, DATA[4000:] + b"more than there is") == first
        assert store.stage(META, 4000, DATA[4000:]).length == META.size


def test_a_whole_that_is_wrong_is_thrown_away(folder: Path) -> None:
    with opened(folder) as store:
        store.stage(META, 0, b"\xff" + DATA[1:4000])
        assert store.stage(META, 4000, DATA[4000:]) == Staged(0, 0)
        assert store.stage(META, 0, DATA) == Staged(META.size, META.crc)


def test_only_the_first_part_of_another_snapshot_takes_the_place(folder: Path) -> None:
    """A late part of an older transfer does not throw away what came since."""
    other = meta_for(b"other", FIRST + 3, 1)
    with opened(folder) as store:
        store.stage(META, 0, DATA[:4000])
        assert store.stage(other, 3, b"er") == Staged(0, 0)
        assert store.stage(META, 4000, DATA[4000:5000]).length == 5000
        assert store.stage(other, 0, b"oth").length == 3
        assert store.stage(META, 5000, DATA[5000:]) == Staged(0, 0)


@pytest.mark.parametrize("staged", [0, 4000])
def test_what_is_not_whole_cannot_be_installed(folder: Path, staged: int) -> None:
    store = open_store(folder, incarnation=1, limits=SMALL)
    store.stage(META, 0, DATA[:staged])
    with pytest.raises(Stopped, match="neither saved nor staged"):
        store.write(ready(snapshot=META, cut=META.index + 1))


def test_an_empty_state_needs_no_bytes(folder: Path) -> None:
    """So a node that joins a young cluster learns where its log begins."""
    empty = meta_for(b"", FIRST + 30, 1)
    with opened(folder) as store:
        assert store.stage(empty, 0, b"") == Staged(0, 0)
        store.write(ready(snapshot=empty, cut=empty.index + 1))
        assert store.read_snapshot(empty, 0, 10) == b""
    with opened(folder) as store:
        assert store.boot.snapshot == empty


def test_a_staging_does_not_outlive_the_process(folder: Path) -> None:
    with opened(folder) as store:
        store.stage(META, 0, DATA[:4000])
        (folder / "staging").rename(folder / "kept")
    (folder / "kept").rename(folder / "staging")
    with opened(folder) as store:
        assert not (folder / "staging").exists()
        assert store.stage(META, 4000, DATA[4000:]) == Staged(0, 0)


def test_saved_bytes_must_be_those_of_the_snapshot(folder: Path) -> None:
    with opened(folder) as store:
        with pytest.raises(ValueError, match="CRC"):
            store.save_snapshot(META, DATA[:-1] + b"x")
        with pytest.raises(ValueError, match="size"):
            store.save_snapshot(META, DATA[:-1])
        store.save_snapshot(META, DATA)
        store.write(ready(snapshot=META))


def test_a_snapshot_is_read_in_slices(folder: Path) -> None:
    with opened(folder) as store:
        store.save_snapshot(META, DATA)
        store.write(ready(snapshot=META))
        assert store.read_snapshot(META, 100, 50) == DATA[100:150]
        assert store.read_snapshot(META, META.size - 5, 50) == DATA[-5:]
        assert store.read_snapshot(META, META.size, 50) == b""


def test_older_snapshots_stay_while_they_are_being_sent(folder: Path) -> None:
    later = meta_for(b"later", FIRST + 12, 1)
    latest = meta_for(b"latest", FIRST + 15, 1)
    with opened(folder) as store:
        for meta, data in ((META, DATA), (later, b"later")):
            store.save_snapshot(meta, data)
            store.write(ready(snapshot=meta))
        store.drop_snapshots([META.index])
        assert store.read_snapshot(META, 0, 9) == DATA[:9]
        store.save_snapshot(latest, b"latest")
        store.drop_snapshots([])
        with pytest.raises(LookupError):
            store.read_snapshot(META, 0, 9)
        assert store.read_snapshot(later, 0, 9) == b"later", "of record"
        store.write(ready(snapshot=latest))
        assert store.read_snapshot(latest, 0, 9) == b"latest", "saved, and kept until then"


def test_a_start_removes_what_is_not_of_record(folder: Path) -> None:
    with opened(folder) as store:
        store.save_snapshot(META, DATA)
    with opened(folder):
        assert list(folder.glob("snapshot-*")) == []


def test_a_snapshot_that_would_not_fit_as_a_whole_is_not_begun(folder: Path) -> None:
    huge = SnapshotMeta(FIRST + 9, 1, META.configuration, 1 << 60, 5)
    with opened(folder) as store, pytest.raises(NoSpace):
        store.stage(huge, 0, b"its first part")


def test_a_snapshot_that_does_not_fit_is_refused_before_it_is_written(folder: Path) -> None:
    """It stops nothing: the log goes on, and it is tried again when there is room."""
    full = Limits(floor=0, ballast=0, margin=1 << 60)
    with opened(folder, limits=full) as store:
        with pytest.raises(NoSpace):
            store.save_snapshot(META, DATA)
        with pytest.raises(NoSpace):
            store.stage(META, 0, DATA)
        assert list(folder.glob("s[nt]a*")) == []
        store.write(ready(hard=HardState(2)))
