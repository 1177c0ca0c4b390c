"""A disk that fails or is full: the store stops at once, tries nothing again, and loses nothing
it acknowledged.

After a flush that failed a kernel may drop what it had and report success for the next one: whoever
tries again believes what is not on disk (Rebello et al. 2020, "Can Applications Recover from fsync
Failures?").
"""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from consensus.raft.types import HardState
from consensus.storage.errors import Stopped
from consensus.storage.opening import open_store, verify_folder
from tests.consensus.storage.readies import (
    RECORD,
    SMALL,
    Model,
    begin,
    image,
    opened,
    ready,
    state_of,
)
from tests.consensus.storage.writer import follow

SEED = 11
WRITES = 40


class Run(Protocol):
    def __call__(self, folder: Path, fail_at: int, *ending: str) -> tuple[list[str], str]: ...


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The flushes of a process that can be made to fail."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("shim") / "failing_sync.so"
    source = Path(__file__).with_name("failing_sync.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def _write(
    folder: Path,
    writes: int,
    env: Mapping[str, str] | None = None,
    before: Callable[[], None] | None = None,
    *ending: str,
) -> list[str]:
    """What a process tells that writes so often."""
    command = [sys.executable, "-m", "tests.consensus.storage.writer", str(folder), str(SEED)]
    ended = subprocess.run(
        [*command, str(writes), *ending],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, **(env or {})},
        preexec_fn=before,
    )
    return ended.stdout.split("\n")[:-1]


def _acknowledged(lines: list[str]) -> int:
    return max((int(line.split()[-1]) for line in lines if line[-1].isdigit()), default=3)


def _check_nothing_lost(folder: Path, lines: list[str]) -> None:
    """Where a store stopped, a new start finds all that was acknowledged, and at most the one
    transaction that was under way."""
    found = verify_folder(folder)
    acknowledged = _acknowledged(lines)
    assert acknowledged <= found.meta.seq <= acknowledged + 1
    model = Model(HardState(1))
    if lines and lines[0].startswith("open"):
        follow(model, SEED, int(lines[0].split()[1]), found.meta.seq)
    assert state_of(found) == model.state()


@pytest.fixture
def flushes(shim: Path, tmp_path: Path) -> Run:
    """A run in which the flush of this number fails: what it told, and all its flushes."""

    def run(folder: Path, fail_at: int, *ending: str) -> tuple[list[str], str]:
        log = tmp_path / f"flushes-{fail_at}"
        env = {"LD_PRELOAD": str(shim), "SYNC_LOG": str(log), "FAIL_AT": str(fail_at)}
        lines = _write(folder, WRITES, env, None, *ending)
        return lines, log.read_text()

    return run


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A store that a process made, and closed."""
    with opened(begin(tmp_path / "begun")) as store:
        store.write(ready(hard=HardState(1)))
    return tmp_path / "begun"


@pytest.mark.slow
def test_no_flush_is_ever_tried_again(flushes: Run, begun: Path, tmp_path: Path) -> None:
    """One flush of a life fails, each time another: of a transaction, a checkpoint, a snapshot, a
    folder. The process does none after it, and what it acknowledged is there."""
    full, all_of_them = flushes(image(begun, tmp_path / "whole"), 0)
    assert len(full) == WRITES + 1
    assert len(all_of_them) > WRITES, "each transaction is flushed"
    ignored = []
    for fail_at in [*range(1, 8), *range(8, len(all_of_them), 5)]:
        folder = image(begun, tmp_path / f"node-{fail_at}")
        lines, done = flushes(folder, fail_at)
        if lines == full:
            ignored.append(done[:fail_at])
        else:
            assert done.upper() == all_of_them[: fail_at - 1] + "X", "it is the last one"
            assert not lines or lines[-1] == "then refused" or lines[0][:7] == "stopped"
        _check_nothing_lost(folder, lines)
    # SQLite flushes the name of a new write-ahead log and does not look; so that was done before.
    assert ignored == ["/.X"]


@pytest.mark.slow
def test_a_process_that_ends_gently_after_a_failure_loses_nothing_either(
    flushes: Run, begun: Path, tmp_path: Path
) -> None:
    """SQLite folds its log in when it is closed: only what was committed before the failure."""
    for fail_at in range(9, 60, 6):
        folder = image(begun, tmp_path / f"node-{fail_at}")
        lines, done = flushes(folder, fail_at, "gently")
        assert lines[-1] == "then refused"
        assert "x" in done.lower()
        _check_nothing_lost(folder, lines)


@pytest.mark.slow
def test_a_beginning_that_fails_can_be_made_again(flushes: Run, tmp_path: Path) -> None:
    """Whatever flush of the first start fails: the next start begins, or goes on."""
    for fail_at in range(1, 16, 2):
        folder = begin(tmp_path / f"node-{fail_at}")
        flushes(folder, fail_at)
        with opened(folder) as store:
            assert store.boot.snapshot == RECORD.snapshot


def _limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))


def test_a_file_that_cannot_grow_stops_the_store(begun: Path) -> None:
    """A limit on the size of files stands for a full disk: writes fail, wholly or in part."""
    lines = _write(begun, WRITES, before=_limit_files)
    assert lines[-2].startswith("stopped")
    assert lines[-1] == "then refused"
    _check_nothing_lost(begun, lines)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 600 KiB, to be had by root only."""
    top = tmp_path / "disk"
    top.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=600k", "tmpfs", str(top)]
    if mount is None or subprocess.run([mount, *options], check=False).returncode:
        pytest.skip("only root can mount a disk in memory")
    yield top
    subprocess.run(["umount", top], check=True)


def test_a_full_disk_stops_the_store(small_disk: Path) -> None:
    folder = begin(small_disk / "node")
    with opened(folder) as store:
        store.write(ready(hard=HardState(1)))
    room = shutil.disk_usage(small_disk).free - 50_000
    (small_disk / "filler").write_bytes(bytes(room))
    lines = _write(folder, WRITES)
    assert lines[-2].startswith("stopped")
    assert "full" in lines[-2]
    assert lines[-1] == "then refused"
    (small_disk / "filler").unlink()
    _check_nothing_lost(folder, lines)


def test_an_error_of_the_high_water_file_is_an_error_of_the_write(
    begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction is durable then, and not acknowledged: at most one more than was."""
    store = open_store(begun, incarnation=1, limits=SMALL)
    seq = store.seq
    monkeypatch.setattr(os, "pwrite", lambda *_: 5)
    with pytest.raises(Stopped, match="in part"):
        store.write(ready(hard=HardState(2)))
    monkeypatch.undo()
    with pytest.raises(Stopped):
        store.write(ready(hard=HardState(3)))
    left = verify_folder(image(begun, begun.with_name("left")))
    assert left.meta.hard == HardState(2)
    assert left.meta.seq == seq + 1
