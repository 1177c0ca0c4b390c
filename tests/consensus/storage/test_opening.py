"""Whose folder is opened, how one begins, and which are refused, with what to do about it."""

import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from consensus.raft.types import Configuration, HardState, Member
from consensus.storage import record
from consensus.storage.checking import Expected, lock
from consensus.storage.errors import (
    Damaged,
    Foreign,
    InUse,
    Newer,
    NotBegun,
    PeerWentBack,
    Refused,
    Unreadable,
    WentBack,
)
from consensus.storage.opening import open_store, verify_folder
from consensus.storage.record import Bootstrap, write_record
from tests.consensus.storage.crashes import water
from tests.consensus.storage.readies import (
    CLUSTER,
    FIRST,
    NODE,
    RECORD,
    SMALL,
    Model,
    begin,
    commands,
    image,
    opened,
    ready,
    state_in,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store that wrote something and was closed."""
    with opened(begin(tmp_path / "node")) as store:
        store.write(ready(*commands(FIRST, 3), hard=HardState(1, NODE)))
    return tmp_path / "node"


def _refusal(folder: Path, kind: type[Refused], expected: Expected | None = None) -> Refused:
    with pytest.raises(kind) as caught:
        open_store(folder, incarnation=1, limits=SMALL, expected=expected or Expected())
    assert type(caught.value) is kind
    assert all(caught.value.lines())
    return caught.value


def test_an_empty_folder_does_not_begin(tmp_path: Path) -> None:
    refused = _refusal(tmp_path, NotBegun)
    assert "neither a ledger nor a bootstrap record" in refused.details
    assert "new id" in refused.lines()[2]
    _refusal(tmp_path / "nowhere", NotBegun)
    assert not (tmp_path / "nowhere").exists(), "its disk may not be mounted"


def test_the_record_is_used_once(folder: Path) -> None:
    """Who empties a folder does not get a node that has forgotten its votes."""
    assert not (folder / record.NAME).exists()
    for path in folder.iterdir():
        path.unlink()
    _refusal(folder, NotBegun)


@pytest.mark.parametrize("lost", ["ledger.db", "ledger.db ledger.db-wal"])
def test_a_record_does_not_let_a_folder_that_lost_its_database_begin_again(
    folder: Path, lost: str
) -> None:
    for name in lost.split():
        (folder / name).unlink(missing_ok=True)
    write_record(folder, RECORD)
    assert "database is missing" in _refusal(folder, WentBack).details


def test_a_snapshot_without_a_database_does_not_begin(tmp_path: Path) -> None:
    folder = begin(tmp_path / "node")
    (folder / "snapshot-5-1-00000000").write_bytes(b"x")
    _refusal(folder, WentBack)


def test_a_copy_without_its_high_water_is_refused(folder: Path) -> None:
    (folder / "high-water").unlink()
    assert "missing" in _refusal(folder, WentBack).details
    write_record(folder, RECORD)
    _refusal(folder, WentBack)


def test_a_database_copied_back_is_refused(folder: Path, tmp_path: Path) -> None:
    """As a backup tool does that copies files."""
    older = image(folder, tmp_path / "older")
    with opened(folder) as store:
        store.write(ready(hard=HardState(2, NODE)))
    shutil.copy(older / "ledger.db", folder)
    (folder / "ledger.db-wal").unlink(missing_ok=True)
    refused = _refusal(folder, WentBack)
    assert "new id" in refused.lines()[2]


def test_a_whole_folder_rolled_back_is_known_by_its_peers(folder: Path, tmp_path: Path) -> None:
    """Nothing in such a folder is wrong: only who heard more of it can tell."""
    older = image(folder, tmp_path / "older")
    with opened(folder) as store:
        newest = store.seq
    peer_folder = begin(tmp_path / "peer", Bootstrap(CLUSTER, NODE + 1))
    with opened(peer_folder) as peer:
        peer.saw(NODE, 1, newest + 5)
        peer.write_peers()
    with (
        opened(older) as back,
        opened(peer_folder) as peer,
        pytest.raises(PeerWentBack, match="forgotten"),
    ):
        peer.saw(back.identity.node, 2, back.seq)


def test_copies_of_a_folder_differ_in_their_incarnation(folder: Path, tmp_path: Path) -> None:
    other = image(folder, tmp_path / "other")
    with opened(folder, incarnation=11) as one, opened(other, incarnation=12) as two:
        assert one.identity.node == two.identity.node
        assert one.identity.incarnation != two.identity.incarnation


@pytest.mark.parametrize("expected", [Expected(cluster=5), Expected(node=5)], ids=str)
def test_the_folder_of_another_node_is_refused(folder: Path, expected: Expected) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    _refusal(folder, Foreign, expected)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("expected", [Expected(cluster=5), Expected(node=5)], ids=str)
def test_the_record_of_another_node_is_refused(tmp_path: Path, expected: Expected) -> None:
    _refusal(begin(tmp_path / "node"), Foreign, expected)


def test_the_expected_folder_is_opened(folder: Path) -> None:
    open_store(folder, incarnation=1, limits=SMALL, expected=Expected(CLUSTER, NODE)).close()


def test_a_record_of_another_node_beside_a_ledger_is_refused(folder: Path) -> None:
    write_record(folder, Bootstrap(CLUSTER, 5))
    _refusal(folder, Foreign)


def test_the_own_record_beside_a_ledger_is_taken_away(folder: Path) -> None:
    """A start that ended between making the database and removing the record goes on."""
    write_record(folder, RECORD)
    with opened(folder) as store:
        assert store.boot.hard == HardState(1, NODE)
    assert not (folder / record.NAME).exists()


def test_the_database_and_the_high_water_are_of_one_node(folder: Path, tmp_path: Path) -> None:
    with opened(begin(tmp_path / "five", Bootstrap(CLUSTER, 5))):
        pass
    shutil.copy(tmp_path / "five" / "high-water", folder)
    _refusal(folder, Foreign)


def test_a_folder_is_open_once(folder: Path) -> None:
    with opened(folder):
        _refusal(folder, InUse)
        with pytest.raises(InUse):
            verify_folder(folder)
    with opened(folder):
        pass


def test_two_do_not_begin_one_folder(tmp_path: Path) -> None:
    """SQLite's own lock comes too late for that: there is no database yet."""
    folder = begin(tmp_path / "node")
    held = lock(folder)
    _refusal(folder, InUse)
    assert not (folder / "ledger.db").exists()
    held.release()
    with opened(folder):
        pass


def test_a_folder_is_open_in_one_process(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from consensus.storage.opening import open_store\n"
        "from consensus.storage.errors import InUse\n"
        "try: open_store(Path(sys.argv[1]), incarnation=1)\n"
        "except InUse: sys.exit(7)"
    )
    with opened(folder):
        ended = subprocess.run([sys.executable, "-c", code, folder], check=False)
    assert ended.returncode == 7


@pytest.mark.parametrize("step", ["high-water", "half a database", "database"])
def test_a_beginning_that_was_cut_off_is_made_again(tmp_path: Path, step: str) -> None:
    """Up to the moment the database has its name nothing of the node was told to anybody."""
    with opened(begin(tmp_path / "whole")):
        pass
    folder = begin(tmp_path / "node")
    if step == "half a database":
        (folder / "ledger.db.new").write_bytes(b"half of it")
        (folder / "ledger.db.new-wal").write_bytes(b"more")
    elif step == "database":
        shutil.copy(tmp_path / "whole" / "ledger.db", folder)

    (folder / "high-water").write_bytes(water(0))
    with opened(folder) as store:
        assert state_in(store) == Model().state()


def test_a_high_water_of_another_node_stops_a_beginning(tmp_path: Path) -> None:

    folder = begin(tmp_path / "node")
    (folder / "high-water").write_bytes(water(0, node=5))
    _refusal(folder, Foreign)


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"format": 1, "crc": 5}', "\x00", '{"crc": ' * 500], ids=repr
)
def test_a_damaged_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / record.NAME).write_text(text)
    assert "bootstrap record is damaged" in _refusal(tmp_path, NotBegun).details


def test_a_record_with_one_wrong_bit_is_refused(tmp_path: Path) -> None:
    data = bytearray(record.encode(RECORD))
    for place in range(0, len(data), 3):
        data[place] ^= 1
        with suppress(ValueError):
            assert record.decode(bytes(data)) == RECORD, "white space"
        data[place] ^= 1


def test_records_are_read_as_written(tmp_path: Path) -> None:
    for one in (
        RECORD,
        Bootstrap(CLUSTER, NODE),
        Bootstrap(
            1, 2, RECORD.configuration and Configuration((Member(2, "ä:1", voter=False),)), 1, 5, 7
        ),
    ):
        assert record.decode(record.encode(one)) == one
    write_record(tmp_path, RECORD)
    with pytest.raises(FileExistsError):
        write_record(tmp_path, RECORD)


@pytest.mark.parametrize(
    "wrong",
    [
        (0, NODE, None, 0),
        (CLUSTER, 1 << 63, None, 0),
        (CLUSTER, NODE, None, 5),
        (CLUSTER, NODE, Configuration(), 5),
        (CLUSTER, NODE, RECORD.configuration, 0),
    ],
    ids=str,
)
def test_a_record_that_makes_no_sense_is_not_made(wrong: tuple[int, int, None, int]) -> None:
    with pytest.raises(ValueError, match=r"ids|joins|first index"):
        Bootstrap(*wrong)


def test_a_folder_of_a_newer_version_is_not_damaged(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who goes back to an older version is told so, and not to replace the node."""
    monkeypatch.setattr("consensus.storage.meta._VERSION", 0)
    assert "version" in _refusal(folder, Newer).lines()[2]
    monkeypatch.setattr("consensus.storage.record._FORMAT", 2)
    write_record(tmp_path, RECORD)
    monkeypatch.setattr("consensus.storage.record._FORMAT", 1)
    _refusal(tmp_path, Newer)


def test_a_folder_that_cannot_be_read_is_no_damage(tmp_path: Path) -> None:
    (tmp_path / "node").write_text("a file, not a folder")
    _refusal(tmp_path / "node", Unreadable)


def test_a_folder_can_be_verified_without_being_opened(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    found = verify_folder(folder)
    assert tuple(found.entries) == commands(FIRST, 3)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    data = bytearray((folder / "ledger.db").read_bytes())
    place = data.index(commands(FIRST + 1, 1)[0].data)
    data[place] ^= 1
    (folder / "ledger.db").write_bytes(data)
    with pytest.raises(Damaged, match=f"entry {FIRST + 1} is wrong"):
        verify_folder(folder)
