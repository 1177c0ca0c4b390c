"""Room on the disk: told before it is needed, held back for an operator, given back."""

import os
from pathlib import Path

import pytest

from consensus.raft.types import HardState
from consensus.storage.room import Room
from consensus.storage.store import MIB, Limits
from tests.consensus.storage.readies import FIRST, begin, commands, meta_for, opened, ready

HELD = Limits(floor=MIB, ballast=MIB, margin=0, checkpoint=MIB)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return begin(tmp_path / "node")


def test_the_limits_are_those_of_the_design() -> None:
    assert Limits().floor == 64 * MIB


def test_space_is_enough_down_to_the_floor(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(folder, limits=HELD) as store:
        assert store.space().enough
        monkeypatch.setattr(Room, "_free", lambda _: MIB)
        assert store.space().enough
        monkeypatch.setattr(Room, "_free", lambda _: MIB - 1)
        assert not store.space().enough
        store.write(ready(hard=HardState(1)))  # votes and entries under way still go through


def test_the_ballast_takes_blocks_and_can_be_let_go_and_taken_again(folder: Path) -> None:
    with opened(folder, limits=HELD) as store:
        ballast = folder / "ballast"
        assert ballast.stat().st_blocks * 512 >= MIB
        assert store.space().ballast == MIB
        store.let_ballast_go()
        assert store.space().ballast == 0
        assert not ballast.exists()
        store.shrink()
        assert ballast.stat().st_size == MIB


def test_a_ballast_of_another_size_or_a_half_one_is_made_again(folder: Path) -> None:
    (folder / "ballast").write_bytes(b"half")
    with opened(folder, limits=HELD) as store:
        assert store.space().ballast == MIB


def test_there_is_no_ballast_where_there_is_no_room_for_it(folder: Path) -> None:
    with opened(folder, limits=Limits(floor=1 << 60, ballast=MIB)) as store:
        assert store.space().ballast == 0
        assert not store.space().enough


def test_compaction_gives_room_back(folder: Path) -> None:
    with opened(folder, limits=HELD) as store:
        store.write(ready(*commands(FIRST, 100, size=20_000), hard=HardState(1)))
        store.shrink()
        before = (folder / "ledger.db").stat().st_size
        meta = meta_for(b"state", FIRST + 97, 1)
        store.save_snapshot(meta, b"state")
        store.write(ready(snapshot=meta))
        seq = store.seq
        store.shrink()
        assert store.seq == seq + 1
        assert before > 2_000_000
        assert (folder / "ledger.db").stat().st_size < 200_000
        assert (folder / "ledger.db-wal").stat().st_size == 0
        store.write(ready(*commands(FIRST + 100, 1)))
        store.verify()
    with opened(folder, limits=HELD) as store:
        assert [one.index for one in store.boot.entries] == [FIRST + 98, FIRST + 99, FIRST + 100]


def test_the_ballast_of_a_system_without_fallocate_takes_blocks_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    odd = Limits(floor=0, ballast=MIB + 5, margin=0)
    with opened(folder, limits=odd):
        assert (folder / "ballast").stat().st_size == MIB + 5
        assert (folder / "ballast").stat().st_blocks * 512 >= MIB


def test_free_space_falls_as_files_grow(tmp_path: Path) -> None:
    room = Room(tmp_path, HELD)
    assert 0 < room.space().free <= os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize
    assert room.space().floor == MIB
