"""A whole cluster in one thread: cores, disks and the messages between them.

A test decides what is delivered, lost, doubled, written to disk and when; without a word from it
everything goes through at once and in order (`settle`).
"""

import random
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias

from consensus.raft.core import Raft
from consensus.raft.messages import Message, SnapChunk
from consensus.raft.ready import Ready
from consensus.raft.types import (
    BootState,
    Configuration,
    Entry,
    Index,
    Kind,
    Lost,
    Member,
    NodeId,
    RaftConfig,
    Role,
    SnapshotMeta,
)
from tests.consensus.raft.disk import Disk


@dataclass(frozen=True, slots=True)
class Carried:
    """A chunk with its bytes, as a network carries it."""

    chunk: SnapChunk
    data: bytes

    @property
    def sender(self) -> NodeId:
        return self.chunk.sender

    @property
    def to(self) -> NodeId:
        return self.chunk.to


Packet: TypeAlias = Message | Carried
Check = Callable[["Node"], None]
EVERYTHING = 1 << 30


def configuration(voters: Sequence[NodeId], learners: Sequence[NodeId] = ()) -> Configuration:
    """These nodes, at addresses of no meaning."""
    members = [Member(n, f"node-{n}", n in voters) for n in sorted([*voters, *learners])]
    return Configuration(tuple(members))


def new_cluster(voters: Sequence[NodeId], learners: Sequence[NodeId] = ()) -> BootState:
    """What each node of a new cluster starts from."""
    return BootState(snapshot=SnapshotMeta(configuration=configuration(voters, learners)))


class Node:
    """One core with its disk and a state machine that keeps every command it applied."""

    def __init__(self, cfg: RaftConfig, boot: BootState, seed: int, core: type[Raft]) -> None:
        self.cfg = cfg
        self.disk = Disk(boot)
        self.saved: dict[Index, bytes] = {boot.snapshot.index: b""}
        self.core_class = core
        self.rng = random.Random(seed)
        self.hangs = False
        self.down = False
        self.life = 0
        self.start()

    def start(self) -> None:
        """Begin a life with what the disk has."""
        boot = self.disk.boot()
        self.life += 1
        self.raft = self.core_class(self.cfg, boot, self.rng)
        self.flight: Ready | None = None
        self.down = False
        self.applied: Index = boot.snapshot.index
        self.state: bytes = self.saved[self.applied]
        self.entries: list[Entry] = []
        self.answers: list[tuple[int, Index | Lost]] = []
        self._staging: tuple[SnapshotMeta | None, bytes] = (None, b"")

    def take(self) -> list[Packet]:
        """What may leave now, chunks with the bytes they carry."""
        return [self._with_bytes(message) for message in self.raft.take_messages()]

    def _with_bytes(self, m: Message) -> Packet:
        if isinstance(m, SnapChunk):
            return Carried(m, self.saved[m.meta.index][m.offset : m.offset + m.length])
        return m

    def step(self, message: Packet) -> None:
        """Take a message, after staging the bytes that came with it."""
        self.raft.step(self._stage(message) if isinstance(message, Carried) else message)

    def _stage(self, carried: Carried) -> SnapChunk:
        chunk, (meta, staged) = carried.chunk, self._staging
        if meta != chunk.meta:
            meta, staged = chunk.meta, b""
        if chunk.offset == len(staged):
            staged += carried.data
        if len(staged) == meta.size and zlib.crc32(staged) != meta.crc:
            staged = b""
        self._staging = (meta, staged)
        if len(staged) == meta.size:
            self.saved[meta.index] = staged
        return replace(chunk, staged=len(staged), staged_crc=zlib.crc32(staged))

    def begin_write(self) -> None:
        """Hand storage what is to be saved."""
        if self.flight is None:
            self.flight = self.raft.ready()

    def finish_write(self) -> Sequence[Message]:
        """What storage has been handed is durable."""
        ready, self.flight = self.flight, None
        if ready is None:
            return []
        self.disk.write(ready)
        free = self.raft.advance(ready.seq)
        if ready.snapshot is not None and ready.snapshot.index > self.applied:
            self.applied = ready.snapshot.index
            self.state = self.saved[self.applied]
        return free

    def apply(self, max_bytes: int = EVERYTHING) -> Sequence[Entry]:
        """Apply what is committed; read what is answered."""
        found = self.raft.committed(max_bytes)
        for entry in found:
            assert entry.index == self.applied + 1, "an entry is left out or applied twice"
            self.applied = entry.index
            self.entries.append(entry)
            if entry.kind is Kind.COMMAND:
                self.state += entry.data + b"\n"
        self.answers += self.raft.reads()
        return found

    def snapshot(self) -> SnapshotMeta:
        """Compact the log up to what is applied."""
        term = self.raft.log.term_at(self.applied)
        assert term is not None
        held = self.raft.configuration_at(self.applied)
        size, crc = len(self.state), zlib.crc32(self.state)
        meta = SnapshotMeta(self.applied, term, held, size, crc)
        self.saved[meta.index] = self.state
        self.raft.compact(meta)
        return meta


class Network:
    """Nodes and what is on its way between them. `check` is called after each event, with the node
    that it happened to."""

    def __init__(
        self,
        voters: Sequence[NodeId] = (1, 2, 3),
        learners: Sequence[NodeId] = (),
        *,
        seed: int = 0,
        core: type[Raft] = Raft,
        boot: BootState | None = None,
        options: Mapping[str, int | bool] = MappingProxyType({}),
    ) -> None:
        self.nodes: dict[NodeId, Node] = {}
        self.messages: list[Packet] = []
        self.cuts: set[tuple[NodeId, NodeId]] = set()
        self.lost: Callable[[Packet], bool] = lambda _: False
        self.check: Check = lambda _: None
        self.core = core
        self.options = dict(options)
        self.seed = seed
        for node in [*voters, *learners]:
            self.add(node, new_cluster(voters, learners) if boot is None else boot)

    def add(self, node: NodeId, boot: BootState | None = None) -> Node:
        """Start a node, without anything on its disk unless told what."""
        cfg = replace(RaftConfig(id=node), **self.options)  # type: ignore[arg-type]
        made = Node(cfg, BootState() if boot is None else boot, self.seed * 1000 + node, self.core)
        self.nodes[node] = made
        return made

    def __getitem__(self, node: NodeId) -> Raft:
        return self.nodes[node].raft

    @property
    def leader(self) -> Raft:
        """The leader of the highest term."""
        leaders = [n.raft for n in self.nodes.values() if n.raft.role is Role.LEADER and not n.down]
        assert leaders, "no leader"
        return max(leaders, key=lambda raft: raft.term)

    @property
    def has_leader(self) -> bool:
        """Whether any node leads."""
        return any(n.raft.role is Role.LEADER and not n.down for n in self.nodes.values())

    def cut(self, *pairs: tuple[NodeId, NodeId]) -> None:
        """Lose all that the first of a pair sends to the second."""
        self.cuts.update(pairs)

    def isolate(self, *nodes: NodeId) -> None:
        """Lose all between these and the others."""
        for a in self.nodes:
            for b in self.nodes:
                if (a in nodes) != (b in nodes):
                    self.cut((a, b))

    def heal(self) -> None:
        """Lose nothing any more."""
        self.cuts.clear()
        self.lost = lambda _: False

    def send(self, messages: Sequence[Packet]) -> None:
        """Messages leave; those on a cut link or to nobody are lost."""
        self.messages += [
            m
            for m in messages
            if m.to in self.nodes and (m.sender, m.to) not in self.cuts and not self.lost(m)
        ]

    def work(self, node: Node) -> None:
        """Let a node send, save and apply all it can; a disk that hangs saves nothing."""
        if node.down:
            return
        self.send(node.take())
        node.begin_write()
        while node.flight is not None and not node.hangs:
            self.send(node.finish_write())
            self.check(node)
            self.send(node.take())
            node.begin_write()
        node.apply()
        self.check(node)

    def deliver(self, message: Packet) -> None:
        """One message arrives."""
        node = self.nodes[message.to]
        if not node.down:
            node.step(message)
            self.check(node)

    def settle(self) -> None:
        """Let all happen that happens without the clock."""
        for _ in range(10_000):
            for node in self.nodes.values():
                self.work(node)
            if not self.messages:
                return
            arriving, self.messages = self.messages, []
            for message in arriving:
                self.deliver(message)
        raise AssertionError("messages without end")

    def tick(self, times: int = 1, *only: NodeId) -> None:
        """Let the clock tick, for all nodes or these, and settle after each tick."""
        for _ in range(times):
            for name in only or [*self.nodes]:
                node = self.nodes[name]
                if not node.down:
                    node.raft.tick()
                    self.check(node)
            self.settle()

    def elect(self, node: NodeId) -> Raft:
        """Make a node the leader, by standing for election."""
        for other in self.nodes:
            self.tick_idle(other)
        self[node].campaign()
        self.settle()
        assert self[node].role is Role.LEADER
        return self[node]

    def tick_idle(self, node: NodeId) -> None:
        """Let a node forget that it heard a leader, without letting it stand."""
        self[node]._elapsed = max(self[node]._elapsed, self[node].cfg.election_ticks)
        self[node]._timeout = max(self[node]._timeout, 2 * self[node].cfg.election_ticks)

    def propose(self, *commands: str) -> None:
        """Let the leader append commands, and settle."""
        for command in commands:
            self.leader.propose(command.encode())
        self.settle()

    def crash(self, node: NodeId) -> None:
        """End a node; what its disk does not have is lost."""
        self.nodes[node].down = True
        self.messages = [m for m in self.messages if m.to != node]

    def restart(self, node: NodeId) -> None:
        """Begin a new life, with what the disk has."""
        self.nodes[node].start()

    def states(self) -> list[str]:
        """The commands that each node applied, by node."""
        return [" ".join(n.state.decode().split()) for n in self.nodes.values()]
