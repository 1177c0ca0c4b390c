"""What a node of the ledger does beside the core: clients, the leader's clock and its agenda."""

from consensus.ledger.answers import Answer
from consensus.ledger.clock import LeaderClock
from consensus.ledger.commands import Command, OfLeader, OpenSession, RaiseVersion
from consensus.ledger.entries import Entry as Record
from consensus.ledger.entries import encode
from consensus.raft.errors import Busy, NoSpace, NotLeader
from consensus.raft.types import Entry, Index, Kind, Lost, NodeId, Role, Term
from tests.sim.asking import Answered, Ask, Hello, Look, Moved, Question, Reply, Seen, Told
from tests.sim.clockwork import MS, SECOND
from tests.sim.node import Node
from tests.sim.options import TICK

SILENT = 1 * SECOND
"""A bidder that is not heard for so long is no bidder any more."""


class Service(Node):
    """A node with its clients. Those that say hello are connected to it, in this life."""

    def begin(self) -> None:
        self.waiting: dict[tuple[int, int], Index] = {}
        self.pending: dict[Index, tuple[Term, NodeId, int]] = {}
        self.looks: dict[int, Look] = {}
        self.read: set[int] = set()
        self.ripe: list[tuple[Index, Look]] = []
        self.connected: dict[int, NodeId] = {}
        self.heard: dict[int, int] = {}
        self.clock: LeaderClock | None = None
        self.led: Term = 0
        self.led_since = 0
        self.proposed: dict[Command, Index] = {}
        self.last_ms = self.local_ms()

    def tick(self) -> None:
        """A tick: time passes for a leader, and what is due is proposed."""
        super().tick()
        now = self.local_ms()
        elapsed, self.last_ms = now - self.last_ms, now
        if self._leads() and self.clock is not None:
            self.clock.pass_time(elapsed)
            self._do_due()

    def _leads(self) -> bool:
        """Whether it leads; a new leader's clock goes on from the highest stamp of its log."""
        raft = self.raft
        if raft.role is not Role.LEADER:
            self.clock = None
            return False
        if self.clock is None or self.led != raft.term:
            self.led, self.led_since = raft.term, self.world.clockwork.now
            entries = raft.log.entries(raft.log.first, raft.log.last, 1 << 40)
            stamps = [int.from_bytes(e.data[1:9], "big") for e in entries if e.kind is Kind.COMMAND]
            self.clock = LeaderClock(max([self.ledger.state.clock, *stamps]), TICK // MS)
            self.proposed.clear()
        return True

    def _do_due(self) -> None:
        assert self.clock is not None
        version = self.common_version()
        if version > self.ledger.state.version:
            self._propose_due(RaiseVersion(version))
        for command in self.ledger.agenda.due(self.clock.now, 20):
            self._propose_due(command)
        silent = self.world.clockwork.now - SILENT
        if self.led_since > silent:
            return
        for session in sorted(self.ledger.state.sessions):
            if self.heard.get(session, 0) < silent:
                found = self.ledger.agenda.dismissal(session)
                if found is not None:
                    self._propose_due(found)

    def common_version(self) -> int:
        """The newest version that every member can follow, as far as it has said so."""
        members = self.raft.members.configuration.members
        said = [self.releases.get(member.id, 0) for member in members if member.id != self.id]
        return min([self.release, *said])

    def _propose_due(self, command: OfLeader) -> None:
        """Once, until it is applied; now and then twice, which does no harm."""
        if self.proposed.get(command, 0) <= self.applied or self.rng.random() < 0.1:
            index = self._propose(Record(0, command))
            if index is not None:
                self.proposed[command] = index

    def _propose(self, record: Record) -> Index | None:
        """The index of a command that the log has now; None if it cannot be taken."""
        if not self._leads() or self.clock is None:
            return None
        stamped = Record(
            self.clock.now, record.command, record.session, record.seq, record.acked_below
        )
        try:
            return self.raft.propose(encode(stamped))[0]
        except (NotLeader, Busy, NoSpace):
            return None

    def ask(self, question: Question) -> None:
        """A question of a client arrives."""
        self.handle(self.life, self._asked, question)

    def _asked(self, question: Question) -> None:
        match question:
            case Ask():
                self._hear(question.session)
                self._command(question)
            case Look():
                if question.token not in self.read:
                    self.read.add(question.token)
                    self.looks[question.token] = question
                    self.raft.read_index(question.token)
            case Hello():
                self._hear(question.session)
                self.connected[question.session] = question.client
                for one in self.ledger.views.waiting_for(question.session):
                    self._reply(question.client, Told(one))

    def _hear(self, session: int) -> None:
        self.heard[session] = self.world.clockwork.now

    def _command(self, ask: Ask) -> None:
        if isinstance(ask.command, OpenSession):
            record = Record(0, ask.command)
        else:
            record = Record(0, ask.command, ask.session, ask.seq, ask.acked_below)
        name = (ask.session or ask.client, ask.seq)
        if self.world.options.spots and self._waits(self.waiting.get(name, 0)):
            return
        index = self._propose(record)
        if index is None:
            self._reply(ask.client, Moved(ask.number, self.raft.leader))
        else:
            self.pending[index] = (self.raft.term, ask.client, ask.number)
            self.waiting[name] = index

    def _waits(self, index: Index) -> bool:
        """Whether a command that was proposed here is still to be answered: it is not proposed
        again, else a queue that is longer than clients are patient grows by all they repeat."""
        found = self.pending.get(index)
        return found is not None and found[0] == self.raft.term and self._leads()

    def took(self, entry: Entry, answer: Answer | None) -> None:
        """Answer who asked for this entry, and tell those whom it concerns."""
        waiting = self.pending.pop(entry.index, None)
        if waiting is not None:
            term, client, number = waiting
            if term == entry.term and answer is not None:
                self._reply(client, Answered(number, entry.index, answer))
            else:
                self._reply(client, Moved(number, self.raft.leader))
        for one in self.ledger.take_told():
            told = self.connected.get(one.session)
            if told is not None:
                self._reply(told, Told(one))

    def pump(self) -> None:
        super().pump()
        self._answer_looks()

    def _answer_looks(self) -> None:
        """Read what may be read; where leadership was lost, say so."""
        for token, index in self.answers[self.read_answers :]:
            look = self.looks.pop(token)
            if isinstance(index, Lost):
                self._reply(look.client, Moved(look.number, index.leader))
            else:
                self.ripe.append((index, look))
        self.read_answers = len(self.answers)
        if not self.ripe:
            return
        for index, look in self.ripe:
            if index <= self.applied:
                self._reply(look.client, Seen(look.number, self.ledger.views.auction(look.key)))
        self.ripe = [one for one in self.ripe if one[0] > self.applied]

    def _reply(self, client: NodeId, reply: Reply) -> None:
        found = self.world.clients.get(client)
        if found is not None:
            self.world.links.send(self.id, client, found.receive, self.id, reply)
