"""What one transaction does, what outlives the process, and what a store refuses to forget."""

from dataclasses import replace
from pathlib import Path

import pytest

from consensus.raft.ready import Ready
from consensus.raft.types import Configuration, Entry, HardState, Kind, Member
from consensus.storage.errors import Damaged, PeerWentBack, Stopped
from consensus.storage.meta import encode, encode_rest
from consensus.storage.opening import open_store, verify_folder
from consensus.storage.record import Bootstrap
from consensus.storage.sqlite import SqliteStore
from consensus.storage.store import Store
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
    meta_for,
    opened,
    ready,
    seen,
    state_in,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return begin(tmp_path / "node")


def test_a_store_is_what_a_node_needs(folder: Path) -> None:
    store: Store = open_store(folder, incarnation=1, limits=SMALL)
    store.close()


def test_a_new_cluster_begins_at_its_first_index(folder: Path) -> None:
    with opened(folder, incarnation=5) as store:
        assert (store.identity.cluster, store.identity.node) == (CLUSTER, NODE)
        assert store.identity.incarnation == 5
        assert store.boot.snapshot == RECORD.snapshot
        assert store.boot.snapshot.index == FIRST - 1
        assert state_in(store) == Model().state()


def test_a_node_that_joins_begins_with_nothing(tmp_path: Path) -> None:
    with opened(begin(tmp_path / "node", Bootstrap(CLUSTER, NODE))) as store:
        assert store.boot.snapshot.index == 0
        assert not store.boot.entries
        assert store.peers == {}


def test_everything_written_is_there_after_a_start(folder: Path) -> None:
    entries = commands(FIRST, 3, term=2)
    with opened(folder) as store:
        assert store.write(ready(*entries, hard=HardState(2, NODE))) == store.seq
    with opened(folder, incarnation=2) as store:
        assert store.boot.hard == HardState(2, NODE)
        assert tuple(store.boot.entries) == entries
        assert store.identity.incarnation == 2


def test_what_a_core_starts_from_is_always_what_is_durable(folder: Path) -> None:
    """It is not kept in memory beside what the core has."""
    with opened(folder) as store:
        store.write(ready(*commands(FIRST, 3), hard=HardState(2)))
        assert tuple(store.boot.entries) == commands(FIRST, 3)
        assert store.boot.hard == HardState(2)


def test_seq_rises_by_one_with_each_transaction_and_each_start(folder: Path) -> None:
    with opened(folder) as store:
        before = store.seq
        assert store.write(ready(hard=HardState(1))) == before + 1
        assert store.write(ready(hard=HardState(2))) == before + 2
    with opened(folder) as store:
        assert store.seq == before + 3


def test_nothing_to_save_takes_no_transaction(folder: Path) -> None:
    with opened(folder) as store:
        assert store.write(ready()) == store.seq
        assert store.seq == 2


def test_a_conflict_is_cut_off_before_what_replaces_it(folder: Path) -> None:
    with opened(folder) as store:
        store.write(ready(*commands(FIRST, 5), hard=HardState(1)))
        late = commands(FIRST + 2, 1, term=3)
        store.write(ready(*late, hard=HardState(3), cut=FIRST + 2))
    with opened(folder) as store:
        assert tuple(store.boot.entries) == commands(FIRST, 2) + late


def test_a_cut_may_come_alone(folder: Path) -> None:
    with opened(folder) as store:
        store.write(ready(*commands(FIRST, 5), hard=HardState(1)))
        store.write(ready(cut=FIRST))
        store.write(ready(*commands(FIRST, 1)))
    with opened(folder) as store:
        assert tuple(store.boot.entries) == commands(FIRST, 1)


def test_own_snapshots_compact_the_log(folder: Path) -> None:
    with opened(folder) as store:
        store.write(ready(*commands(FIRST, 5), hard=HardState(1)))
        meta = meta_for(b"state", FIRST + 2, 1)
        store.save_snapshot(meta, b"state")
        store.write(ready(*commands(FIRST + 5, 1), snapshot=meta))
        assert store.snapshot == meta
    with opened(folder) as store:
        assert store.boot.snapshot == meta
        assert tuple(store.boot.entries) == commands(FIRST + 3, 3)
        assert store.read_snapshot(meta, 0, 100) == b"state"


def test_a_log_can_be_compacted_as_a_whole_and_then_goes_on(folder: Path) -> None:
    with opened(folder) as store:
        store.write(ready(*commands(FIRST, 5), hard=HardState(1)))
        meta = meta_for(b"state", FIRST + 4, 1)
        store.save_snapshot(meta, b"state")
        store.write(ready(snapshot=meta))
        store.write(ready(*commands(FIRST + 5, 2)))
    with opened(folder) as store:
        assert tuple(store.boot.entries) == commands(FIRST + 5, 2)


@pytest.mark.parametrize("index", [FIRST + 1, FIRST + 50], ids=["inside", "beyond"])
def test_a_snapshot_of_a_leader_replaces_the_log(folder: Path, index: int) -> None:
    with opened(folder) as store:
        store.write(ready(*commands(FIRST, 5), hard=HardState(3)))
        meta = meta_for(b"theirs", index, 2)
        store.stage(meta, 0, b"theirs")
        more = commands(index + 1, 2, term=3)
        store.write(ready(*more, snapshot=meta, cut=index + 1))
    with opened(folder) as store:
        assert store.boot.snapshot == meta
        assert tuple(store.boot.entries) == more


def test_the_snapshot_of_record_can_replace_what_follows_it(folder: Path) -> None:
    with opened(folder) as store:
        store.write(ready(*commands(FIRST, 5), hard=HardState(1)))
        meta = meta_for(b"state", FIRST + 2, 1)
        store.save_snapshot(meta, b"state")
        store.write(ready(snapshot=meta))
        store.write(ready(*commands(FIRST + 3, 1), snapshot=meta, cut=FIRST + 3))
        store.verify()
    with opened(folder) as store:
        assert tuple(store.boot.entries) == commands(FIRST + 3, 1)


BREACHES = {
    "term lowered": ready(hard=HardState(4)),
    "second vote": ready(hard=HardState(5, NODE + 2)),
    "vote taken back": ready(hard=HardState(5, None)),
    "gap": ready(*commands(FIRST + 6, 1, term=5)),
    "met an entry": ready(*commands(FIRST + 4, 1, term=5)),
    "gap between entries": ready(*commands(FIRST + 5, 1, 5), *commands(FIRST + 7, 1, 5)),
    "older term": ready(*commands(FIRST + 5, 1, term=1)),
    "entry above the term": ready(*commands(FIRST + 5, 1, term=6)),
    "cut inside the snapshot": ready(cut=FIRST),
    "snapshot goes back": ready(snapshot=meta_for(b"", FIRST - 1, 0)),
    "snapshot goes back and takes the log": ready(snapshot=meta_for(b"", FIRST - 1, 0), cut=FIRST),
    "snapshot of another term": ready(snapshot=meta_for(b"", FIRST + 3, 4)),
    "snapshot beyond the log": ready(snapshot=meta_for(b"", FIRST + 9, 5)),
    "snapshot without bytes": ready(snapshot=meta_for(b"lost", FIRST + 3, 2)),
}


@pytest.mark.parametrize("wrong", BREACHES.values(), ids=BREACHES)
def test_what_must_never_be_stops_the_store_before_it_is_written(
    folder: Path, wrong: Ready
) -> None:
    """Whatever a core that is wrong asks for: terms, votes and logs do not go back."""
    store = _five_entries_one_compacted(folder)
    if wrong.snapshot is not None and not wrong.snapshot.size:
        store.save_snapshot(wrong.snapshot, b"")
    seq = store.seq
    with pytest.raises(Stopped):
        store.write(wrong)
    with pytest.raises(Stopped, match="had failed"):
        store.write(ready(hard=HardState(9)))
    assert verify_folder(image(folder, folder.with_name("image"))).meta.seq == seq


def _five_entries_one_compacted(folder: Path) -> SqliteStore:
    store = open_store(folder, incarnation=1, limits=SMALL)
    store.write(ready(*commands(FIRST, 5, term=2), hard=HardState(5, NODE + 1)))
    meta = meta_for(b"state", FIRST, 2)
    store.save_snapshot(meta, b"state")
    store.write(ready(snapshot=meta))
    return store


def test_a_vote_may_be_given_once_where_there_was_none(folder: Path) -> None:
    with opened(folder) as store:
        store.write(ready(hard=HardState(5, None)))
        store.write(ready(hard=HardState(5, NODE)))
        store.write(ready(hard=HardState(5, NODE)))
        store.write(ready(hard=HardState(6, NODE + 1)))
    with opened(folder) as store:
        assert store.boot.hard == HardState(6, NODE + 1)


def test_a_stopped_store_does_nothing_any_more(folder: Path) -> None:
    store = open_store(folder, incarnation=1, limits=SMALL)
    with pytest.raises(Stopped):
        store.write(ready(*commands(FIRST + 7, 1)))
    meta = meta_for(b"", FIRST, 0)
    for call in (
        lambda: store.write(ready()),
        lambda: store.saw(NODE + 1, 1, 1),
        store.write_peers,
        lambda: store.save_snapshot(meta, b""),
        lambda: store.stage(meta, 0, b""),
        lambda: store.read_snapshot(meta, 0, 1),
        lambda: store.drop_snapshots(()),
        lambda: store.entries(FIRST, FIRST + 1, 1),
        store.let_ballast_go,
        store.shrink,
        store.verify,
        lambda: store.backup(folder / "backup"),
    ):
        with pytest.raises((Stopped, LookupError)):
            call()
    store.close()


def test_what_peers_had_outlives_the_process(folder: Path) -> None:
    with opened(folder) as store:
        store.saw(NODE + 1, 5, 100)
        store.saw(NODE + 1, 6, 100)
        seq = store.seq
        assert store.write_peers() == seq + 1
        assert store.write_peers() == seq + 1, "nothing to write: no transaction"
        store.saw(NODE + 1, 6, 140)
        store.saw(9999, 8, 7)
        store.write(ready(hard=HardState(1)))
    with opened(folder) as store:
        assert seen(store.peers) == {NODE + 1: (6, 140), 9999: (8, 7)}
        with pytest.raises(PeerWentBack, match="140"):
            store.saw(NODE + 1, 7, 139)
        assert store.peers[NODE + 1].seq == 140


def test_every_id_a_configuration_names_was_used_for_ever(folder: Path) -> None:
    named = Configuration((*RECORD.snapshot.configuration.members, Member(5000, "x:1")))
    staged = meta_for(b"x", FIRST + 9, 1, Configuration((Member(6000, "y:1"),)))
    with opened(folder) as store:
        entry = Entry(FIRST, 1, Kind.CONFIGURATION, named.encode())
        store.write(ready(entry, hard=HardState(1)))
        store.write(ready(cut=FIRST))
        store.stage(staged, 0, b"x")
        store.write(ready(snapshot=staged, cut=FIRST + 10))
    with opened(folder) as store:
        assert set(store.peers) == {NODE + 1, NODE + 2, 5000, 6000}


def test_entries_are_read_in_slices(folder: Path) -> None:
    with opened(folder) as store:
        store.write(ready(*commands(FIRST, 9), hard=HardState(1)))
        assert tuple(store.entries(FIRST, FIRST + 9, 1000)) == commands(FIRST, 9)
        assert tuple(store.entries(FIRST + 3, FIRST + 5, 1000)) == commands(FIRST + 3, 2)
        assert tuple(store.entries(FIRST + 3, FIRST + 9, 45)) == commands(FIRST + 3, 2)
        assert tuple(store.entries(FIRST + 3, FIRST + 9, 1)) == commands(FIRST + 3, 1)
        for outside in (FIRST - 1, FIRST + 9):
            with pytest.raises(LookupError):
                store.entries(outside, FIRST + 20, 1000)


def test_everything_can_be_verified_while_it_runs(folder: Path) -> None:
    with opened(folder) as store:
        store.write(ready(*commands(FIRST, 9), hard=HardState(1)))
        store.saw(NODE + 1, 5, 100)
        found = store.verify()
        assert (found.entries, found.entry_bytes, found.seq) == (9, 180, store.seq)


@pytest.mark.parametrize("what", ["high-water", "snapshot", "meta row", "entry"])
def test_damage_found_while_it_runs_stops_a_store(folder: Path, what: str) -> None:
    store = _five_entries_one_compacted(folder)
    if what == "high-water":
        (folder / "high-water").write_bytes(water(store.seq + 1))
    elif what == "snapshot":
        (folder / f"snapshot-{FIRST}-2-{store.snapshot.crc:08x}").write_bytes(b"stat3")
    elif what == "meta row":
        older = replace(store._meta, seq=store.seq - 1)
        row = encode(older, encode_rest(older.snapshot, older.anchor, store.peers))
        store._sql.execute("UPDATE meta SET body = ?", (row,))
    else:
        store._sql.execute("UPDATE log SET term = 3 WHERE place = ?", (FIRST + 3,))
    with pytest.raises(Damaged):
        store.verify()
    with pytest.raises(Stopped):
        store.write(ready(hard=HardState(9)))


def test_an_entry_whose_checksum_is_right_must_follow_the_one_before(folder: Path) -> None:
    """Where an older page came back whole, each row of it may look right by itself."""
    store = _five_entries_one_compacted(folder)
    store._sql.execute("DELETE FROM log WHERE place = ?", (FIRST + 4,))
    with pytest.raises(Damaged, match=f"ends at entry {FIRST + 3}, and must end at {FIRST + 4}"):
        store.verify()


def test_a_gap_in_the_log_is_damage(folder: Path) -> None:
    store = _five_entries_one_compacted(folder)
    store._sql.execute("DELETE FROM log WHERE place = ?", (FIRST + 2,))
    with pytest.raises(Damaged, match=f"entry {FIRST + 2} is missing"):
        store.verify()


def test_the_write_ahead_log_is_folded_in_before_it_grows(folder: Path) -> None:
    with opened(folder) as store:
        for one in range(200):
            store.write(ready(*commands(FIRST + one, 1, size=2000), hard=HardState(1)))
        wal = folder / "ledger.db-wal"
        assert wal.stat().st_size < 4 * SMALL.checkpoint
