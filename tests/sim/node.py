"""One node: core, disk and ledger, put together as a process would, one event after the other."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from consensus.ledger.answers import Answer
from consensus.raft.messages import Message, SnapChunk
from consensus.raft.ready import Ready
from consensus.raft.types import Entry, Kind, NodeId, SnapshotMeta
from tests.consensus.raft.invariants import must
from tests.consensus.raft.network import Carried, Packet
from tests.sim.greeting import Verdict
from tests.sim.process import Process, Room


@dataclass(frozen=True, slots=True)
class Parcel:
    """What a node sends, with what its hello said: this life of its process, how many
    transactions are durable, and the newest commands it can follow."""

    sender: NodeId
    incarnation: int
    seq: int
    release: int
    packet: Packet | None


class Node(Process):
    """What a process does with its core, its disk and its ledger."""

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
