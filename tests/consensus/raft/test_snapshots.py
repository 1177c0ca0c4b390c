"""Snapshots and compaction (section 7)."""

import zlib
from dataclasses import replace

import pytest

from consensus.raft.core import Raft
from consensus.raft.messages import (
    Append,
    AppendReply,
    HeartbeatReply,
    SnapChunk,
    SnapReply,
)
from consensus.raft.types import Kind, RaftConfig, SnapshotMeta
from tests.consensus.raft.network import EVERYTHING, Carried, Network, configuration
from tests.consensus.raft.single import (
    answers,
    append,
    entries,
    flush,
    lead,
    log_terms,
    node,
    only,
    save,
)

WHOLE = b"0123456789"
META = SnapshotMeta(5, 2, configuration((1, 2, 3)), len(WHOLE), zlib.crc32(WHOLE))


def chunk(staged: int, offset: int = 0, length: int = 10, meta: SnapshotMeta = META) -> SnapChunk:
    """A chunk that arrives when so much is staged."""
    return SnapChunk(2, 1, 3, meta, offset, length, staged, zlib.crc32(WHOLE[:staged]))


def compacted(core: type[Raft] = Raft) -> Network:
    """Node 3 is cut off and lacks entries that nobody has any more."""
    network = Network(core=core, options={"chunk_bytes": 4})
    network.elect(1)
    network.isolate(3)
    network.propose(*"abcdef")
    network.tick(4)
    for name in (1, 2):
        network.nodes[name].snapshot()
    network.settle()
    return network


def test_a_compacted_log_goes_on_after_its_snapshot() -> None:
    """7: the last included index and term are kept for the consistency check."""
    raft = node(1, 1, 2, term=2)
    answers(raft, append((3, 2), term=2, commit=2))
    raft.committed(EVERYTHING)
    raft.compact(SnapshotMeta(2, 1, configuration((1, 2, 3)), 3, 4))
    ready = raft.ready()
    assert ready is not None
    assert (ready.snapshot, ready.truncate_from, ready.entries) == (raft.log.snapshot, None, [])
    raft.advance(ready.seq)
    assert (raft.log.first, raft.log.last, raft.log.term_at(2), raft.log.term_at(1)) == (
        3,
        3,
        1,
        None,
    )
    assert only(answers(raft, append((3, 2), entries(2, after=3), term=2))) == AppendReply(
        1, 2, 2, True, 4
    )


@pytest.mark.parametrize(
    "meta",
    [
        SnapshotMeta(3, 2, configuration((1, 2, 3))),
        SnapshotMeta(2, 2, configuration((1, 2, 3))),
        SnapshotMeta(2, 1, configuration((1, 2))),
    ],
)
def test_only_what_was_handed_out_is_compacted(meta: SnapshotMeta) -> None:
    """7: a snapshot covers committed entries of this log, with the configuration of its place."""
    raft = node(1, 1, 2, term=2)
    answers(raft, append((3, 2), term=2, commit=2))
    raft.committed(EVERYTHING)
    with pytest.raises(ValueError, match=r"snapshot|handed out"):
        raft.compact(meta)
    assert raft.log.first == 1


def test_compacting_again_to_the_same_place_does_nothing() -> None:
    raft = node(1, after=4, after_term=1)
    raft.compact(SnapshotMeta(4, 1, configuration((1, 2, 3)), 9, 9))
    assert raft.ready() is None


def test_a_follower_that_lacks_what_is_gone_gets_the_snapshot() -> None:
    """7: the leader must send snapshots to followers that lag behind, here in small chunks."""
    network = compacted()
    network.heal()
    network.tick(30)
    assert network.states() == ["a b c d e f"] * 3
    assert network[3].log.snapshot == network[1].log.snapshot
    network.propose("g")
    network.tick(4)
    assert network.states() == ["a b c d e f g"] * 3


def test_lost_chunks_are_sent_again() -> None:
    """A lost one must not park a follower for ever, nor a lost answer."""
    network = compacted()
    network.heal()
    left = {"chunks": 3, "answers": 3}

    def lose(packet: object) -> bool:
        kind = "chunks" if isinstance(packet, Carried) else "answers"
        if isinstance(packet, Carried | SnapReply) and left[kind]:
            left[kind] -= 1
            return True
        return False

    network.lost = lose
    network.tick(300)
    assert left == {"chunks": 0, "answers": 0}
    assert network.states() == ["a b c d e f"] * 3


def test_a_lost_answer_to_the_last_chunk_is_made_up_for() -> None:
    network = compacted()
    network.heal()
    network.lost = lambda m: isinstance(m, AppendReply) and m.sender == 3 and m.accepted
    network.tick(30)
    assert network.nodes[3].state == network.nodes[1].state
    network.heal()
    network.tick(30)
    network.propose("g")
    network.tick(4)
    assert network.states() == ["a b c d e f g"] * 3


def test_a_leader_that_compacts_again_meanwhile_finishes_and_goes_on() -> None:
    """The snapshot that is being sent is finished, then the newer one is sent."""
    network = compacted()
    network.heal()
    network.lost = lambda m: isinstance(m, SnapReply)
    network.tick(4)
    assert next(p for p in network[1].status().peers if p.id == 3).snapshot == 7
    network.propose("g")
    network.nodes[1].snapshot()
    network.heal()
    network.tick(60)
    assert network.states() == ["a b c d e f g"] * 3


def test_a_snapshot_replaces_a_log_that_does_not_have_its_end() -> None:
    """7: the follower discards its entire log; it is all superseded."""
    raft = node(1, 1, 1, term=2)
    raft.step(chunk(10))
    assert raft.committed(EVERYTHING) == ()
    ready = raft.ready()
    assert ready is not None
    assert (ready.snapshot, ready.truncate_from, ready.entries) == (META, 6, [])
    assert raft.advance(ready.seq) == [AppendReply(1, 2, 3, True, 5)]
    assert (raft.log.first, raft.log.last, raft.log.commit, raft.log.handed) == (6, 5, 5, 5)


def test_a_snapshot_that_the_log_has_keeps_what_follows(core: type[Raft]) -> None:
    """7: if the follower has the last entry of the snapshot, entries following it are retained:
    some may be acknowledged and committed."""
    raft = node(1, 1, 2, 2, 2, 2, 2, term=3, core=core)
    assert answers(raft, chunk(10)) == [AppendReply(1, 2, 3, True, 5)]
    assert (log_terms(raft), raft.log.commit) == ([1, 1, 2, 2, 2, 2, 2], 5)
    assert [entry.index for entry in raft.committed(EVERYTHING)] == [1, 2, 3, 4, 5]


def test_a_snapshot_that_is_not_newer_is_answered_with_the_commit() -> None:
    """7: a delayed or doubled snapshot takes nothing back."""
    raft = node(1, 1, 2, 2, 2, 3, term=3)
    answers(raft, append((6, 3), term=3, commit=6))
    assert answers(raft, chunk(10)) == [AppendReply(1, 2, 3, True, 6)]
    assert raft.log.snapshot.index == 0


def test_a_delayed_duplicate_of_a_snapshot_changes_nothing() -> None:
    """Delivered again after the follower went on."""
    network = compacted()
    network.heal()
    kept: list[Carried] = []

    def keep(packet: object) -> bool:
        kept.extend([packet] if isinstance(packet, Carried) else [])
        return False

    network.lost = keep
    network.tick(30)
    network.propose("g", "h")
    network.tick(4)
    before = network[3].status()
    assert kept
    for packet in [*kept, *reversed(kept)]:
        network.deliver(packet)
    network.settle()
    assert network[3].status() == before
    assert network.states() == ["a b c d e f g h"] * 3


def test_a_snapshot_enters_only_whole_and_matching(core: type[Raft]) -> None:
    """The staged whole must match the checksum of its meta; else it begins anew."""
    raft = node(term=3, core=core)
    assert answers(raft, chunk(4, 0, 4)) == [SnapReply(1, 2, 3, 5, 4)]
    assert answers(raft, chunk(4, 8, 2)) == [SnapReply(1, 2, 3, 5, 4)]
    wrong = replace(chunk(10, 8, 2), staged_crc=1)
    assert answers(raft, wrong) == [SnapReply(1, 2, 3, 5, 0)]
    assert raft.log.snapshot.index == 0


def test_a_follower_whose_staging_is_lost_gets_the_snapshot_from_the_beginning() -> None:
    """A restart forgets what was staged; the next answer says so."""
    cfg = RaftConfig(id=1, chunk_bytes=4)
    raft = node(cfg=cfg, after=5, after_term=2)
    raft.log.snapshot = META
    lead(raft, 2)
    flush(raft)
    raft.step(HeartbeatReply(3, 1, 3, 0))
    raft.step(AppendReply(3, 1, 3, False, 0, rejected=5))

    def offsets() -> list[int]:
        return [m.offset for m in raft.take_messages() if isinstance(m, SnapChunk)]

    assert offsets() == [0]
    for staged in (4, 4, 8, 0, 0):
        raft.step(SnapReply(3, 1, 3, 5, staged))
    assert offsets() == [0]
    raft.step(SnapReply(3, 1, 3, 5, 4))
    assert offsets() == [4]
    raft.step(SnapReply(3, 1, 3, 5, 4))
    assert offsets() == []


def test_a_chunk_that_moves_nothing_is_sent_ever_more_rarely() -> None:
    """A slow link must not be filled with the same bytes; an answer begins anew."""
    raft = node(cfg=RaftConfig(id=1, chunk_bytes=4, check_quorum=False), after=5, after_term=2)
    raft.log.snapshot = META
    lead(raft, 2)
    flush(raft)
    raft.step(HeartbeatReply(3, 1, 3, 0))
    raft.step(AppendReply(3, 1, 3, False, 0, rejected=5))
    raft.take_messages()

    def sent_in(ticks: int) -> list[int]:
        found = []
        for tick in range(1, ticks + 1):
            raft.tick()
            found += [tick for m in raft.take_messages() if isinstance(m, SnapChunk)]
        return found

    assert sent_in(200) == [10, 30, 70, 110, 150, 190]
    raft.step(SnapReply(3, 1, 3, 5, 4))
    raft.take_messages()
    assert sent_in(40) == [10, 30]


def test_a_snapshot_of_nothing_is_one_chunk() -> None:
    """A new member of a cluster whose log begins at a number of its own."""
    empty = replace(META, size=0, crc=0)
    raft = node(term=3)
    assert answers(raft, chunk(0, 0, 0, empty)) == [AppendReply(1, 2, 3, True, 5)]
    assert raft.log.snapshot == empty


def test_no_entries_are_sent_while_a_snapshot_is() -> None:
    network = compacted()
    network.heal()
    network.cut((3, 1))
    network.send([])
    network[1].step(AppendReply(3, 1, 1, False, 0, rejected=7))
    network[1].propose(b"g")
    sent = [m for m in network[1].take_messages() if m.to == 3]
    assert not [m for m in sent if isinstance(m, Append) and m.entries]


def test_a_snapshot_during_a_write_waits_for_its_own() -> None:
    """What was on its way to the disk is deleted by the transaction of the snapshot."""
    raft = node(term=3)
    raft.step(append((0, 0), entries(1, 1), term=3))
    first = raft.ready()
    assert first is not None
    raft.step(chunk(10))
    assert raft.advance(first.seq) == [AppendReply(1, 2, 3, True, 2)]
    assert raft.committed(EVERYTHING) == ()
    save(raft)
    raft.step(append((5, 2), entries(3, after=5), term=3, commit=6))
    save(raft)
    assert [entry.index for entry in raft.committed(EVERYTHING)] == [6]


def test_a_configuration_in_a_snapshot_holds() -> None:
    """7, dissertation 5.1: the snapshot has the latest configuration in the log up to it."""
    raft = node(term=3)
    meta = replace(META, configuration=configuration((1, 2, 3, 4)))
    answers(raft, chunk(10, meta=meta))
    assert raft.members.voters == (1, 2, 3, 4)
    assert raft.configuration_at(5) == meta.configuration


def test_a_log_may_begin_anywhere() -> None:
    """A new cluster's first index is a number of its own choice."""
    start = 1_790_000_000_000
    raft = node(voters=(1,), after=start)
    raft.campaign()
    flush(raft)
    assert raft.propose(b"x") == (start + 2, 1)
    save(raft)
    assert [(e.index, e.kind) for e in raft.committed(EVERYTHING)] == [
        (start + 1, Kind.NOOP),
        (start + 2, Kind.COMMAND),
    ]
