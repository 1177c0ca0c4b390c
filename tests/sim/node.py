"""One node: core, disk and ledger, put together as a process would, one event after the other."""

import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from consensus.ledger.answers import Answer
from consensus.ledger.entries import UnknownCommand
from consensus.raft.messages import Message, SnapChunk
from consensus.raft.ready import Ready
from consensus.raft.types import (
    BootState,
    Entry,
    Index,
    Kind,
    Lost,
    NodeId,
    RaftConfig,
    SnapshotMeta,
)
from tests.consensus.raft.invariants import must
from tests.consensus.raft.network import Carried, Packet
from tests.sim.disk import Disk
from tests.sim.greeting import GREETS, Verdict
from tests.sim.options import TICK
from tests.sim.surroundings import Surroundings


@dataclass(frozen=True, slots=True)
class Parcel:
    """What a node sends, with what its hello said: this life of its process, how many
    transactions are durable, and the newest commands it can follow."""

    sender: NodeId
    incarnation: int
    seq: int
    release: int
    packet: Packet | None


NEWEST = 2
"""The version of the commands that the newest release knows; the one before it knows 1."""


class Room(IntEnum):
    """What is left on a disk."""

    NONE = 0
    """The next entries that are written end the process, in every life."""
    LITTLE = 1
    """It is told to the core."""
    ENOUGH = 2


class Node:
    """A process on a machine. `handle` is the only way in: nothing happens to a node that is down,
    and to one that is frozen it happens when it thaws."""

    def __init__(self, world: Surroundings, node: NodeId, boot: BootState, disk: Disk) -> None:
        self.world = world
        self.id = node
        options = world.options
        self.cfg = RaftConfig(
            id=node,
            chunk_bytes=options.chunk_bytes,
            max_append_bytes=options.max_append_bytes,
            max_inflight=options.max_inflight,
            max_uncommitted_bytes=options.max_uncommitted_bytes,
        )
        self.rng = random.Random(f"{options.seed} node {node}")
        self.skew = options.skews[node % len(options.skews)]
        self.disk = disk
        self.first = boot.snapshot.index
        self.life = 0
        self.down = True
        self.refused = False
        self.slow = 1
        self.hangs_until = 0
        self.fails = False
        self.room = Room.ENOUGH
        self.trusted = disk
        self.release = self.newest_run = world.release()
        self.doubted_by: frozenset[NodeId] | None = None
        self.jump_ms = 0
        self.start()

    def start(self) -> None:
        """Begin a life with what the disk has, unless that is refused."""
        if not self.down or self.refused:
            return
        boot = self.disk.open()
        if boot is None:
            self.refused = True
            return
        world = self.world
        self.life += 1
        self.down = self.frozen = self.missed_tick = False
        self.ticks = 0
        self.raft = world.core(self.cfg, boot, self.rng)
        self.ledger = world.ledger()
        self.ledger.newest = self.release
        self.releases: dict[NodeId, int] = {}
        self.flight: Ready | None = None
        self.entries: list[Entry] = []
        self.answers: list[tuple[int, Index | Lost]] = []
        self.read_answers = 0
        self.lazy = False
        self.incarnation = self.world.rng.getrandbits(62)
        self.greeter = self.world.greeter(self.disk.peers)
        self._late: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._staging: tuple[SnapshotMeta | None, bytes] = (None, b"")
        self._compacting = False
        try:
            self._restore(boot.snapshot)
        except UnknownCommand:
            self.stopped()
            return
        self.begin()
        self._plan_tick()

    def stopped(self) -> None:
        """It met what its release does not know: it is down until somebody upgrades it."""
        self.down = True
        self.world.happened("stopped by its release")
        self.world.clockwork.after(self.rng.randrange(1_000_000), self.run_release, NEWEST)

    def run_release(self, release: int) -> None:
        """Start with this release; `older` ones can follow fewer commands."""
        self.crash()
        self.release = release
        self.newest_run = max(release, self.newest_run)
        self.start()

    def begin(self) -> None:
        """A new life of whatever is built upon the core."""

    def _restore(self, meta: SnapshotMeta) -> None:
        self.applied: Index = meta.index
        if meta.size:
            self.ledger.restore(self.disk.files[meta.index])
            self.world.restored(self)

    def crash(self) -> None:
        """The process ends. What was being written is durable, or it is not."""
        if self.down:
            return
        self.down = True
        self.life += 1
        if self.flight is not None and self.rng.random() < 0.5:
            self._keep_staged(self.flight)
            self.disk.commit(self.flight)

    def handle(self, life: int, act: Callable[..., None], *args: Any) -> None:
        """Let something happen to this life of the process."""
        if self.down or life != self.life:
            return
        if self.frozen:
            self._late.append((act, args))
            return
        try:
            act(*args)
            if self.rng.random() >= self.world.options.lazy:
                self.pump()
            elif not self.lazy:
                self.lazy = True
                self.plan(self.rng.randrange(3000), self._wake)
        except UnknownCommand:
            self.crash()
            self.stopped()
        if self.doubted_by is None:
            self.world.touched(self)

    @property
    def lost(self) -> bool:
        """Whether nobody may ever believe it again."""
        return self.refused or self.doubted_by is not None

    def plan(self, delay: int, act: Callable[..., None], *args: Any) -> None:
        """Let something happen to this life later."""
        self.world.clockwork.after(delay, self.handle, self.life, act, *args)

    def _wake(self) -> None:
        self.lazy = False
        self.pump()

    def freeze(self) -> None:
        """Stop the process; the network and the disk go on."""
        self.frozen = True

    def thaw(self) -> None:
        """Go on: all that came meanwhile, and at most one tick."""
        if self.down or not self.frozen:
            return
        self.frozen = False
        late, self._late = self._late, []
        if self.missed_tick:
            self.missed_tick = False
            self.handle(self.life, self.tick)
        for act, args in late:
            self.handle(self.life, act, *args)

    def _plan_tick(self) -> None:
        delay = TICK * 1000 // self.skew
        self.world.clockwork.after(delay, self._on_tick, self.life)

    def _on_tick(self, life: int) -> None:
        if self.down or life != self.life:
            return
        self._plan_tick()
        if self.frozen:
            self.missed_tick = True
        else:
            self.handle(life, self.tick)

    def local_ms(self) -> int:
        """What the clock of this machine says."""
        return self.world.clockwork.now * self.skew // 1_000_000 + self.jump_ms

    def tick(self) -> None:
        """A tick of the clock."""
        self.ticks += 1
        self.raft.report_space(free=self.room is Room.ENOUGH)
        self.raft.tick()
        if self.ticks % GREETS == 0:
            self.greet()

    def pump(self) -> None:
        """Send, save and apply all that can be."""
        self._send(self.raft.take_messages())
        self._begin_write()
        self._apply()
        self._compact()

    def _send(self, messages: Sequence[Message]) -> None:
        links, nodes = self.world.links, self.world.nodes
        for message in messages:
            to = nodes.get(message.to)
            if to is None:
                continue
            if isinstance(message, SnapChunk):
                self._send_chunk(to, message)
            else:
                links.send(self.id, to.id, to.receive, self._parcel(message))

    def _parcel(self, packet: Packet | None) -> Parcel:
        return Parcel(self.id, self.incarnation, self.disk.seq, self.release, packet)

    def greet(self) -> None:
        """Connections are there between all members, whether or not there is anything to say."""
        for member in self.raft.members.configuration.members:
            to = self.world.nodes.get(member.id)
            if to is not None and to is not self:
                self.world.links.send(self.id, to.id, to.receive, self._parcel(None))

    def _send_chunk(self, to: "Node", m: SnapChunk) -> None:
        data = self.disk.files.get(m.meta.index, b"")
        if len(data) != m.meta.size:
            self.raft.report_unreachable(to.id)
            return
        carried = Carried(m, data[m.offset : m.offset + m.length])
        self.world.links.send_chunk(self.id, to.id, to.receive, self._parcel(carried))

    def receive(self, parcel: Parcel) -> None:
        """Something of a peer arrives."""
        self.handle(self.life, self._arrived, parcel)

    def _arrived(self, parcel: Parcel) -> None:
        """Nobody is connected to a node that is not what it was; it hears that, and ends."""
        if self.doubted_by is not None:
            return
        if self.world.options.hello:
            verdict = self.greeter.judge(parcel.sender, parcel.incarnation, parcel.seq, self.ticks)
            if verdict is not Verdict.BELIEVED:
                return
            self.world.believed(self, parcel.sender, parcel.incarnation)
        self.releases[parcel.sender] = parcel.release
        if parcel.packet is not None:
            self._step(parcel.packet)

    def _step(self, packet: Packet) -> None:
        if not isinstance(packet, Carried):
            self.raft.step(packet)
        elif self._may_stage():
            self.raft.step(self._stage(packet))

    def _may_stage(self) -> bool:
        """There is one staging: nothing takes its place before the snapshot in it is installed."""
        return self.raft.log.snapshot.index <= self.disk.image.snapshot.index

    def _stage(self, carried: Carried) -> SnapChunk:
        chunk, (meta, staged) = carried.chunk, self._staging
        if meta != chunk.meta:
            meta, staged = chunk.meta, b""
        if chunk.offset == len(staged):
            staged += carried.data
        if len(staged) == meta.size and zlib.crc32(staged) != meta.crc:
            staged = b""
        self._staging = (meta, staged)
        return replace(chunk, staged=len(staged), staged_crc=zlib.crc32(staged))

    def _begin_write(self) -> None:
        while self.flight is None:
            ready = self.raft.ready()
            if ready is None:
                return
            if ready.hard or ready.entries or ready.snapshot or ready.truncate_from is not None:
                self.flight = ready
                self.plan(self._write_time(), self._written, ready)
            else:
                self._send(self.raft.advance(ready.seq))
                self._send(self.raft.take_messages())

    def _write_time(self) -> int:
        drawn = int(self.rng.expovariate(1.0) * self.world.options.write * self.slow) + 20
        return max(drawn, self.hangs_until - self.world.clockwork.now)

    def _written(self, ready: Ready) -> None:
        """The transaction is durable; where that failed, nothing is tried again: the process
        stops."""
        if self.fails or (self.room is Room.NONE and ready.entries):
            self.fails = False
            self.crash()
            return
        self._keep_staged(ready)
        self.disk.commit(ready)
        self.greeter.write(self.disk.peers)
        self.flight = None
        self._send(self.raft.advance(ready.seq))
        if ready.snapshot is not None and ready.snapshot.index > self.applied:
            self.world.happened("snapshot install")
            self._restore(ready.snapshot)

    def _keep_staged(self, ready: Ready) -> None:
        """The bytes of a snapshot are durable before the transaction that names it."""
        meta = ready.snapshot
        if meta is not None and meta.index not in self.disk.files:
            must(self._staging[0] == meta, "snapshot-there", self.id, meta.index)
            self.disk.files[meta.index] = self._staging[1]

    def _apply(self) -> None:
        while found := self.raft.committed(self.world.options.apply_bytes):
            for entry in found:
                answer = None
                if entry.kind is Kind.COMMAND:
                    answer = self.ledger.apply(entry.index, entry.data)
                self.applied = entry.index
                self.entries.append(entry)
                self.world.applied(self, entry, answer)
                self.took(entry, answer)
        self.answers += self.raft.reads()

    def took(self, entry: Entry, answer: Answer | None) -> None:
        """An entry was applied."""

    def _compact(self) -> None:
        log = self.raft.log
        if self._compacting or self.applied - log.snapshot.index < self.world.options.compact_after:
            return
        if log.handed != self.applied:
            return
        data, term = self.ledger.snapshot(), log.term_at(self.applied)
        held = self.raft.configuration_at(self.applied)
        assert term is not None
        meta = SnapshotMeta(self.applied, term, held, len(data), zlib.crc32(data))
        self._compacting = True
        self.plan(self._write_time(), self._compacted, meta, data)

    def _compacted(self, meta: SnapshotMeta, data: bytes) -> None:
        """The bytes are durable: the log may forget what they stand for."""
        self._compacting = False
        if meta.index <= self.raft.log.snapshot.index:
            return
        self.disk.files[meta.index] = data
        self.raft.compact(meta)
        sent = [peer.snapshot.index for peer in self.raft.progress.values() if peer.snapshot]
        self.disk.sweep(self.raft.log.snapshot.index, *sent)
