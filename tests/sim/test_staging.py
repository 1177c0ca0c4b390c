"""A snapshot that is whole and waits for its transaction keeps its bytes, whatever else arrives."""

import zlib

import pytest

from consensus.ledger.ledger import Ledger
from consensus.raft.messages import SnapChunk
from consensus.raft.types import SnapshotMeta
from tests.consensus.raft.network import Carried, configuration
from tests.sim.mutants import StagesAtOnce
from tests.sim.options import draw
from tests.sim.service import Service
from tests.sim.world import Build, World

DATA = Ledger().snapshot()


def _chunk(leader: int, index: int, length: int) -> Carried:
    meta = SnapshotMeta(index, leader, configuration(range(1, 4)), len(DATA), zlib.crc32(DATA))
    return Carried(SnapChunk(leader, 3, leader, meta, 0, length), DATA[:length])


def _install(node: type[Service]) -> Service:
    """The whole snapshot of one leader, then the first bytes of another's, then the disk."""
    options = draw(0, 3)
    world = World(options, Build(node=node))
    follower, first = world.nodes[3], options.first_index
    follower._step(_chunk(1, first + 10, len(DATA)))
    follower._step(_chunk(2, first + 20, 2))
    follower.pump()
    assert follower.flight is not None
    follower._written(follower.flight)
    assert follower.applied == first + 10
    return follower


def test_a_part_of_another_snapshot_does_not_take_its_place() -> None:
    assert _install(Service).ledger.hash() == Ledger().hash()


def test_a_node_that_lets_it_is_found() -> None:
    with pytest.raises(AssertionError, match="snapshot-there"):
        _install(StagesAtOnce)
