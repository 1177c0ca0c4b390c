"""A node, running: its parts, put together, and what each tick does."""

import asyncio
import logging
import random

from consensus.ledger.ledger import Ledger
from consensus.node.chunks import Chunks
from consensus.node.compacting import Around, Compacting
from consensus.node.counting import Counters, NodeStatus
from consensus.node.desk import Desk
from consensus.node.judging import Judge
from consensus.node.leading import Leading
from consensus.node.machine import Machine, Packed, Tellings
from consensus.node.orders import Orders
from consensus.node.presence import Presence
from consensus.node.proposals import Proposals
from consensus.node.reads import Reads
from consensus.node.settings import NodeSettings
from consensus.node.showing import Showing, counted
from consensus.node.subscribers import Subscribers
from consensus.node.ticking import Ticker
from consensus.node.turns import Outward, Turns
from consensus.node.writer import Writer
from consensus.raft.core import Raft
from consensus.raft.messages import HeartbeatReply
from consensus.raft.types import Index, NodeId, RaftConfig, Role
from consensus.storage.store import Store
from consensus.transport.dialing import parse
from consensus.transport.greeting import Terms
from consensus.transport.network import Network
from consensus.transport.outgoing import Dialing
from consensus.wire.hello import Party, Speaker
from consensus.wire.messages import Parcel
from contracts.clock import Clock

_log = logging.getLogger(__name__)
_TEND_S = 0.5
"""How often a leader looks for silent bidders and versions."""
_APPENDS = 4
"""Below this part of the floor entries of a leader are not taken either: what is left of the disk
is for votes and for a compaction."""


class Node:
    """One node of a ledger, made by `opening.open_node` on a running event loop.

    `start` lets it speak; `close` ends it in order. Where it cannot go on it calls the `halt` of
    its settings, once, and does nothing any more.
    """

    def __init__(
        self, settings: NodeSettings, store: Store, clock: Clock, rng: random.Random
    ) -> None:
        self.settings = settings
        self.counters = Counters()
        self.halted: BaseException | None = None
        self._store = store
        self._ledger = Ledger(newest=settings.newest)
        self._presence = Presence(self._ledger)
        self._subscribers = Subscribers(self._ledger)
        self._a = self._around(clock, rng)
        self._judge = Judge(store, self._a.writer, clock, settings.election_s)
        self._chunks = Chunks(self._a.core, store, self._a.writer, self.counters, self._wake)
        self._compacting = Compacting(self._a, self._made)
        self._proposals, self._reads = Proposals(), Reads(self._a.core)
        self._leading = Leading(self._a, self._proposals, self._versions, self._presence.silent)
        self._turns = Turns(
            self._a,
            Outward(send=self._send, stood=self._stood, applied=self._leading.applied),
            (self._chunks, self._compacting, self._proposals, self._reads),
        )
        self._ticker = Ticker(settings.tick_ms, self._tick, self.counters)
        self._showing = Showing(self._a, self._leading, self._counts)
        self._network = self._made_network(clock, rng)
        self._configuration: tuple[Index, bool] | None = None
        self._leader: NodeId | None = None
        self._said = 0
        self._tend_every = max(1, int(_TEND_S * 1000 / settings.tick_ms))

    @property
    def id(self) -> NodeId:
        """Of this node."""
        return self._store.identity.node

    async def start(self) -> int:
        """Listen, dial the members, begin to tick; returns the port. Raises `OSError`."""
        host, port = parse(self.settings.listen or self.settings.address)
        port = await self._network.start(host, port, self.settings.tls_listen)
        self._turns.turn()
        self._ticker.start()
        return port

    async def close(self) -> None:
        """Let another lead, answer what is under way, end everything. The folder can be opened
        again then."""
        await self._give_way()
        self._ticker.stop()
        await self._network.close()
        self._turns.over = True
        self._leading.end()
        self._proposals.end()
        self._reads.end()
        await self._chunks.close()
        await self._compacting.close()
        await self._a.writer.close()
        if self.halted is None:
            self._store.close()

    def status(self) -> NodeStatus:
        """Where it stands now."""
        return self._showing.status()

    def _around(self, clock: Clock, rng: random.Random) -> Around:
        settings, store = self.settings, self._store
        config = RaftConfig(
            id=store.identity.node,
            election_ticks=settings.election_ticks,
            heartbeat_ticks=settings.heartbeat_ticks,
        )
        told = self._subscribers
        tellings = Tellings(bidder=told.bidder, ended=told.ended, restored=told.restored)
        return Around(
            core=Raft(config, store.boot, rng),
            store=store,
            writer=Writer(self._halt),
            machine=Machine(self._ledger, tellings),
            settings=settings,
            counters=self.counters,
            clock=clock,
            wake=self._wake,
            halt=self._halt,
        )

    def _made_network(self, clock: Clock, rng: random.Random) -> Network:
        settings = self.settings
        terms = Terms(
            introduce=self._introduce,
            keys=settings.keys,
            admit=self._judge.admit,
            limits=settings.transport,
        )
        dialing = Dialing(
            terms=terms,
            unreachable=self._unreachable,
            tls=settings.tls_dial,
            clock=clock,
            rng=rng,
        )
        desk = Desk(
            self._a,
            (
                self._leading,
                self._proposals,
                self._reads,
                Orders(self._a, self._proposals, self._judge, self._compacting),
            ),
            (self._presence, self._subscribers),
            (self._showing.leader_address, self._showing.body),
        )
        return Network(self.id, dialing, self._received, desk)

    def _wake(self) -> None:
        self._turns.wake()

    def _introduce(self) -> Speaker:
        identity = self._store.identity
        return Speaker(
            party=Party.PEER,
            cluster=identity.cluster,
            node=identity.node,
            name=self.settings.address,
            incarnation=identity.incarnation,
            seq=self._store.seq,
            cluster_version=self.settings.newest,
        )

    def _received(self, sender: Speaker, parcel: Parcel) -> None:
        try:
            if self._judge.believes(sender, parcel):
                self._turns.received(parcel)
        except Exception as error:  # noqa: BLE001 - as in a turn: the core is not to be used any more
            self._halt(error)

    def _send(self, parcel: Parcel) -> None:
        self._network.send(parcel)

    def _unreachable(self, node: NodeId) -> None:
        self._a.core.report_unreachable(node)
        self._wake()

    def _stood(self) -> None:
        """After each turn: who leads, and who the members are."""
        core = self._a.core
        self._leading.stood()
        if core.leader != self._leader:
            self._leader = core.leader
            self.counters.leaders_seen += core.leader is not None
        held = (core.members.index, core.members.index > core.log.commit)
        if held != self._configuration:
            self._configuration = held
            self._network.set_members(self._addresses())

    def _addresses(self) -> dict[NodeId, str]:
        """Of all members, and of those that a change which is not known to be committed leaves out:
        a leader that removes itself must hear that the others have that entry."""
        core = self._a.core
        held = core.members.configuration.members
        before = core.members.at(core.log.commit).members
        return {member.id: member.address for member in (*before, *held)}

    def _tick(self) -> None:
        if self._turns.over:
            return
        try:
            space = self._store.space()
            room = space.free >= space.floor // _APPENDS
            self._turns.report_space(enough=space.enough, room=room)
            self._a.core.tick()
            self._leading.tick()
            self._compacting.tick()
            if self.counters.ticks % self.settings.heartbeat_ticks == 0:
                self._say_seq()
            if self.counters.ticks % self._tend_every == 0:
                self._leading.tend()
        except Exception as error:  # noqa: BLE001 - as in a turn
            self._halt(error)
        self._turns.turn()

    def _say_seq(self) -> None:
        """Tell all members what is durable here, where that is news. Followers say nothing to each
        other otherwise, and could not tell that one of them comes back with less. The message is
        one that no core heeds: an answer of the first term there was."""
        if self._store.seq == self._said:
            return
        self._said = self._store.seq
        for member in self._a.core.members.configuration.members:
            self._network.send(Parcel(HeartbeatReply(self.id, member.id, 1, 0), self._said))

    def _made(self, packed: Packed) -> None:
        self._leading.attest(packed)

    def _versions(self) -> list[int]:
        others = [m.id for m in self._a.core.members.configuration.members if m.id != self.id]
        return list(self._judge.versions(others))

    def _halt(self, error: BaseException) -> None:
        """Do nothing any more, and say why."""
        if self.halted is None:
            self.halted = error
            self._turns.over = True
            self._ticker.stop()
            self.settings.halt(error)

    async def _give_way(self) -> None:
        """Before it leaves a leader lets another lead, if one can within an election timeout."""
        core = self._a.core
        voters = [p for p in core.progress.values() if core.members.is_voter(p.id)]
        able = [peer for peer in voters if peer.active and peer.space]
        if not self._leads() or not able or self._turns.over:
            return
        core.transfer(max(able, key=lambda peer: peer.match).id)
        self._wake()
        for _ in range(self.settings.election_ticks):
            if not self._leads():
                return
            await asyncio.sleep(self.settings.tick_ms / 1000)

    def _leads(self) -> bool:
        return self._a.core.role is Role.LEADER

    def _counts(self) -> dict[str, int]:
        counts = counted(self._network)
        return counts | {
            "peers_refused": self._judge.refused,
            "proposals_waiting": len(self._proposals),
            "subscribers": len(self._subscribers),
            "told": self._subscribers.told,
            "sessions_connected": len(self._presence),
        }
