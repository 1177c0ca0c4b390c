"""Files that end too early, or hold a bit that nobody wrote: refused, or as if nothing were wrong.

Ongaro & Ousterhout 2014, section 5: what was answered for must be on stable storage. A shorter log
or a forgotten vote breaks the election of a single leader, so neither may come without an error.
"""

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from consensus.storage import database
from consensus.storage.errors import Damaged, Foreign, Refused, WentBack
from consensus.storage.highwater import SIZE
from consensus.storage.opening import verify_folder
from consensus.storage.snapshots import Snapshots
from tests.consensus.storage.crashes import Crash, crash, outcome, water
from tests.consensus.storage.readies import image

WRITES = 60


@pytest.fixture(scope="module")
def top() -> Iterator[Path]:
    """In memory where there is such a folder: only the contents matter here."""
    shm = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
    folder = Path(tempfile.mkdtemp(dir=shm if shm.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def left(top: Path) -> Crash:
    return crash(top, seed=3, writes=WRITES)


@pytest.fixture
def work(top: Path, left: Crash) -> Iterator[Path]:
    folder = image(left.folder, top / "work")
    yield folder
    shutil.rmtree(folder)


def _again(left: Crash, work: Path) -> None:
    shutil.rmtree(work)
    image(left.folder, work)


def test_what_was_left_is_all_there(left: Crash, work: Path) -> None:
    assert outcome(work) == (left.last, left.after[left.last])
    assert left.last - left.folded > WRITES // 3, "much of it is only in the write-ahead log"


def _cuts(size: int) -> list[int]:
    """Places all over a write-ahead log, and around the ends of its frames."""
    frames = range(32, size, 4 * 4120)
    near = {frame + one for frame in frames for one in (-1, 0, 24)}
    return sorted(one for one in {*range(0, size, size // 240), *near} if one < size)


def test_a_write_ahead_log_cut_off_anywhere_is_refused(left: Crash, work: Path) -> None:
    """The high-water file outlived the process: no transaction it counts may be missing."""
    data = (left.folder / "ledger.db-wal").read_bytes()
    refused = []
    for cut in _cuts(len(data)):
        (work / "ledger.db-wal").write_bytes(data[:cut])
        found = outcome(work)
        if isinstance(found, Refused):
            assert isinstance(found, WentBack)
            refused.append(cut)
        else:  # behind the last frame there is what was folded in before
            assert found == (left.last, left.after[left.last]), cut
            assert cut > max(refused)
        _again(left, work)
    assert len(refused) >= 200


def test_with_an_older_high_water_a_whole_transaction_is_the_last_one(
    left: Crash, work: Path
) -> None:
    """After a power failure the mark may be behind. Then a log that is cut off ends with a whole
    transaction, and never before the one of the mark."""
    data = (left.folder / "ledger.db-wal").read_bytes()
    rng = random.Random(1)
    lasts = set()
    for cut in _cuts(len(data)):
        mark = rng.choice((0, left.folded, rng.randint(left.folded, left.last)))
        (work / "ledger.db-wal").write_bytes(data[:cut])
        (work / "high-water").write_bytes(water(mark))
        found = outcome(work)
        if isinstance(found, Refused):
            assert isinstance(found, WentBack)
            assert mark > left.folded
        else:
            seq, state = found
            assert state == left.after[seq], cut
            assert seq >= mark
            lasts.add(seq)
        _again(left, work)
    assert len(lasts) > WRITES // 3, "many different ends were seen"


@pytest.fixture(params=["half in the log", "all in both", "all in the database"])
def either(request: pytest.FixtureRequest, top: Path) -> Iterator[Crash]:
    """A crash in the middle, one after a checkpoint, one after a checkpoint that was the end."""
    fold = WRITES // 2 if request.param == "half in the log" else WRITES
    left = crash(top / "either", seed=4, writes=WRITES, fold=fold)
    if request.param == "all in the database":
        with closing(database.connect(left.folder / "ledger.db")) as sql:
            database.checkpoint(sql, "TRUNCATE")
        (left.folder / "ledger.db-wal").touch()
    yield left
    shutil.rmtree(top / "either")


@pytest.mark.parametrize("name", ["ledger.db", "ledger.db-wal", "high-water"])
def test_a_single_wrong_bit_is_refused_or_changes_nothing(
    either: Crash, top: Path, name: str
) -> None:
    """A flip in what does not count any more changes nothing, and a node goes on with it."""
    folder = image(either.folder, top / "flipped")
    data = bytearray((folder / name).read_bytes())
    rng = random.Random(2)
    kinds: Counter[type] = Counter()
    bits = range(len(data) * 8)
    head = bits[:800:7]
    for bit in sorted(
        {*head, *rng.sample(bits, min(len(bits), 256 if len(data) == SIZE else 140))}
    ):
        data[bit // 8] ^= 1 << bit % 8
        (folder / name).write_bytes(data)
        data[bit // 8] ^= 1 << bit % 8
        found = outcome(folder)
        kinds[type(found)] += 1
        if not isinstance(found, Refused):
            assert found == (either.last, either.after[either.last]), bit
        shutil.rmtree(folder)
        image(either.folder, folder)
    shutil.rmtree(folder)
    print(name, {kind.__name__: count for kind, count in kinds.items()})
    assert set(kinds) <= {tuple, Damaged, WentBack}


def test_a_wrong_bit_in_a_snapshot_is_refused(left: Crash, work: Path) -> None:
    meta = verify_folder(work).meta.snapshot
    file = Snapshots(work).path(meta)
    data = bytearray(file.read_bytes())
    assert data
    for place in range(0, len(data), max(len(data) // 40, 1)):
        data[place] ^= 4
        file.write_bytes(data)
        data[place] ^= 4
        assert isinstance(outcome(work), Damaged)
    file.write_bytes(data[:-1])
    assert isinstance(outcome(work), Damaged)
    file.unlink()
    assert isinstance(outcome(work), Damaged)


@pytest.mark.parametrize("name", ["ledger.db", "high-water"])
def test_a_file_of_any_other_length_is_refused_or_changes_nothing(
    left: Crash, work: Path, name: str
) -> None:
    data = (left.folder / name).read_bytes()
    for length in [*range(0, len(data), max(len(data) // 40, 1)), len(data) + 1]:
        (work / name).write_bytes(data[:length] + bytes(max(length - len(data), 0)))
        found = outcome(work)
        if not isinstance(found, Refused):
            assert found == (left.last, left.after[left.last]), length
        _again(left, work)


def test_a_refused_folder_stays_as_it_is(left: Crash, work: Path) -> None:
    """Whoever looks into it later finds what was there."""
    wal = bytearray((work / "ledger.db-wal").read_bytes())
    wal[len(wal) // 2] ^= 1
    (work / "ledger.db-wal").write_bytes(wal)
    before = {path.name: path.read_bytes() for path in work.iterdir()}
    for _ in range(2):
        assert isinstance(outcome(work), WentBack)
    assert {path.name: path.read_bytes() for path in work.iterdir()} == before


@pytest.mark.parametrize("name", ["ledger.db", "ledger.db-wal", "high-water"])
def test_a_lost_file_is_refused(work: Path, name: str) -> None:
    (work / name).unlink()
    assert isinstance(outcome(work), WentBack)


def test_a_write_ahead_log_of_another_time_is_refused(top: Path, left: Crash, work: Path) -> None:
    """An older write-ahead log beside a newer database, and the other way round."""
    other = crash(top / "other", seed=3, writes=WRITES // 2)
    for name in ("ledger.db", "ledger.db-wal"):
        shutil.copy(other.folder / name, work / name)
        found = outcome(work)
        if not isinstance(found, Refused):  # what was not replaced has every page that counts
            assert found == (left.last, left.after[left.last])
        _again(left, work)


def test_a_database_rolled_back_beside_its_high_water_is_refused(
    top: Path, left: Crash, work: Path
) -> None:
    earlier = crash(top / "earlier", seed=3, writes=WRITES // 2)
    shutil.copy(work / "high-water", earlier.folder / "high-water")
    found = outcome(earlier.folder)
    assert isinstance(found, WentBack)
    assert "were made durable" in found.details
    assert "new id" in found.lines()[2]


def test_the_high_water_of_another_node_is_refused(work: Path) -> None:
    (work / "high-water").write_bytes(water(1, node=4242))
    assert isinstance(outcome(work), Foreign)
