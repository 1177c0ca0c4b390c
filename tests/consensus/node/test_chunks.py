"""What a node does with chunks that come out of turn."""

import threading
from pathlib import Path
from typing import Any

from consensus.node.node import Node
from consensus.raft.messages import AppendReply, SnapChunk
from consensus.raft.types import SnapshotMeta
from consensus.storage.store import Staged
from consensus.wire.messages import Parcel
from tests.consensus.node.cluster import Cluster, running, until


def chunk(node: Node, leader: Node, *, above: int, back: int = 0) -> SnapChunk:
    """The first of two chunks of a snapshot that lies so far above what the node has."""
    core = node._a.core
    meta = SnapshotMeta(
        core.log.commit + above, core.term - back, core.members.configuration, size=8, crc=1
    )
    return SnapChunk(leader.id, node.id, core.term - back, meta, 0, 4)


async def stopped(cluster: Cluster) -> tuple[Node, Node, list[Any], threading.Event]:
    """A follower whose staging waits, and what it was asked to stage."""
    before, node = await cluster.leader(), (await cluster.followers())[0]
    before._a.core.transfer(next(n.id for n in cluster.nodes.values() if n not in (before, node)))
    before._wake()
    leader = await cluster.leader(before)
    await cluster.level()
    asked: list[Any] = []
    gate = threading.Event()

    def stage(meta: SnapshotMeta, _offset: int, _data: bytes) -> Staged:
        asked.append(meta)
        gate.wait(10)
        return Staged(4, 0)

    store: Any = node._a.store
    store.stage = stage
    return leader, node, asked, gate


async def test_one_chunk_is_staged_at_a_time(tmp_path: Path) -> None:
    """The first part of another snapshot would take the place of one that is about to be put in."""
    async with running(tmp_path) as cluster:
        leader, node, asked, gate = await stopped(cluster)
        first = chunk(node, leader, above=50)
        node._chunks.take(first, bytes(4))
        node._chunks.take(chunk(node, leader, above=60), bytes(4))
        await until(lambda: asked)
        gate.set()
        await until(lambda: node._chunks._staging is None)
        assert asked == [first.meta]
        node._chunks.take(chunk(node, leader, above=60), bytes(4))
        await until(lambda: len(asked) == 2)
        await until(lambda: node._chunks._staging is None)


async def test_what_is_in_the_log_or_of_the_past_is_not_staged_but_answered(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as cluster:
        leader, node, asked, gate = await stopped(cluster)
        gate.set()
        sent: list[Parcel] = []
        core = node._a.core
        network: Any = node._network
        network.send = sent.append
        term, commit = core.term, core.log.commit
        node._chunks.take(chunk(node, leader, above=0), bytes(4))
        node._chunks.take(chunk(node, leader, above=50, back=1), bytes(4))
        node._wake()

        def answers() -> list[tuple[bool, int]]:
            found = [parcel.message for parcel in sent]
            return [(m.accepted, m.index) for m in found if isinstance(m, AppendReply)]

        await until(lambda: (True, commit) in answers() and (False, 0) in answers())
        assert core.term == term
        assert asked == []


async def test_nothing_is_staged_while_a_snapshot_becomes_durable(tmp_path: Path) -> None:
    """That may be the very one that is staged."""
    async with running(tmp_path) as cluster:
        leader, node, asked, gate = await stopped(cluster)
        gate.set()
        core = node._a.core
        meta = core.log.snapshot
        core.log.snapshot = SnapshotMeta(
            meta.index + 1, meta.term, meta.configuration, meta.size, meta.crc
        )
        node._chunks.take(chunk(node, leader, above=50), bytes(4))
        assert node._chunks._staging is None
        core.log.snapshot = meta
        assert asked == []
