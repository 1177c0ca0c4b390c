"""A client of the ledger: one session, several commands on the way, retries and redirects.

It keeps the rules of `docs/consensus.md`, "What a client does". There are no connections here: that
a node is gone is known only by its silence.
"""

from collections.abc import Callable
from dataclasses import dataclass

from consensus.ledger.answers import Answer, SessionOpened
from consensus.ledger.commands import Command, OpenSession
from consensus.raft.types import NodeId
from contracts.auctions import Auction, Opening, Won
from tests.sim.asking import Answered, Ask, Hello, Look, Moved, Question, Reply, Seen, Told
from tests.sim.clockwork import MS
from tests.sim.linearizable import Operation
from tests.sim.surroundings import Surroundings

PATIENCE = 400 * MS
"""What is not answered by then is sent again; at one node twice as late, then 4 times."""

PAUSE = 30 * MS
"""The first pause after a node that could not help; twice as long each time, up to 16 times."""

AWAY = 1000 * MS
"""A ledger that has answered nothing for so long is away."""

HELLO = 250 * MS
"""How often a client says that it is there."""


@dataclass(slots=True)
class Request:
    """One question until it is answered. `since`: when it was asked first; `sent`: when last;
    `tries` counts how often at this node, `timer` tells its timers apart."""

    number: int
    seq: int
    command: Command | None
    key: str
    done: Callable[[Answer | Auction | None], None]
    operation: Operation | None
    since: int = 0
    sent: int = 0
    tries: int = 0
    timer: int = 0


class Caller:
    """One life of a client. A command is sent until it is answered, always under its number: it is
    done once, whatever is lost. When the client crashes nobody knows what became of the rest."""

    def __init__(self, world: Surroundings, client: NodeId, name: str) -> None:
        self.world = world
        self.id = client
        self.name = name
        self.session = 0
        self.gone = False
        self.on_told: Callable[[Opening | Won], None] = lambda _: None
        self.open: dict[int, Request] = {}
        self._round: list[NodeId] = []
        self.target = self._next()
        self._heard = 0
        self._answered = 0
        self._setbacks = 0
        self._moves = 0
        self._numbers = 0
        self._seq = 0
        self._unacked: dict[int, None] = {}
        world.clients[client] = self

    def begin(self, done: Callable[[], None]) -> None:
        """Open a session, then `done`."""
        nonce = (self.name.encode() + bytes(16))[:16]

        def opened(answer: Answer | Auction | None) -> None:
            assert isinstance(answer, SessionOpened)
            if not self.session:
                self.session = answer.session
                self._hello()
                done()

        self._start(-1, OpenSession(nonce, self.name), "", opened)

    def crash(self) -> None:
        """The process ends."""
        self.gone = True
        self.world.clients.pop(self.id, None)

    def call(self, command: Command, done: Callable[[Answer | Auction | None], None]) -> None:
        """Say `command` in this session."""
        seq, self._seq = self._seq, self._seq + 1
        self._unacked[seq] = None
        self._start(seq, command, getattr(command, "key", ""), done)

    def look(self, key: str, done: Callable[[Answer | Auction | None], None]) -> None:
        """Read an auction."""
        self._start(-1, None, key, done)

    def receive(self, sender: NodeId, reply: Reply) -> None:
        """An answer arrives, perhaps not for the first time."""
        if self.gone:
            return
        if sender == self.target:
            self._heard = self.world.clockwork.now
        match reply:
            case Answered(number=number, index=index, answer=answer):
                request = self.open.pop(number, None)
                if request is not None:
                    self.world.acked(self, request.seq, index, answer)
                    self._finish(request, answer)
            case Seen(number=number, auction=auction):
                request = self.open.pop(number, None)
                if request is not None:
                    self._finish(request, auction)
            case Moved(number=number, leader=leader):
                if sender == self.target and number in self.open:
                    self._turned_away(self.open[number], leader)
            case Told(one=one):
                self.on_told(one)

    def is_away(self) -> bool:
        """Whether the ledger has answered nothing for a while, although it was asked."""
        since = self.world.clockwork.now - AWAY
        return self._answered < since and any(r.since < since for r in self.open.values())

    def _finish(self, request: Request, answer: Answer | Auction | None) -> None:
        self._setbacks = 0
        self._answered = self.world.clockwork.now
        self._unacked.pop(request.seq, None)
        if request.operation is not None:
            self.world.history.end(request.operation, answer)
        request.done(answer)

    def _start(
        self,
        seq: int,
        command: Command | None,
        key: str,
        done: Callable[[Answer | Auction | None], None],
    ) -> None:
        self._numbers += 1
        operation = self.world.history.begin(key, command) if key else None
        now = self.world.clockwork.now
        request = Request(self._numbers, seq, command, key, done, operation, since=now)
        self.open[request.number] = request
        self._send(request)

    def _send(self, request: Request) -> None:
        patience = PATIENCE << min(request.tries, 2)
        request.tries += 1
        request.timer += 1
        request.sent = self.world.clockwork.now
        self.world.clockwork.after(patience, self._late, request, request.timer)
        self._say(self._question(request))

    def _question(self, request: Request) -> Question:
        if request.command is None:
            return Look(self.id, request.number, self.world.read_token(), request.key)
        below = min(self._unacked, default=self._seq)
        return Ask(self.id, request.number, request.command, self.session, request.seq, below)

    def _say(self, question: Question) -> None:
        node = self.world.nodes[self.target]
        self.world.links.send(self.id, node.id, node.ask, question)

    def _late(self, request: Request, timer: int) -> None:
        """No answer: send it again; elsewhere if nothing at all was heard from there since."""
        if self.gone or request.number not in self.open or request.timer != timer:
            return
        if self._heard < request.sent:
            self._go_to(self._next(), 0)
        else:
            self._send(request)

    def _turned_away(self, request: Request, leader: NodeId | None) -> None:
        """The node does not lead, or cannot take more now."""
        self._setbacks += 1
        most = PAUSE << min(self._setbacks - 1, 4)
        pause = most // 2 + self.world.rng.randrange(most // 2)
        if leader == self.target:
            request.timer += 1
            self.world.clockwork.after(pause, self._again, request, request.timer)
        elif leader in self.world.nodes:
            self._go_to(leader, 0 if self._setbacks == 1 else pause)
        else:
            self._go_to(self._next(), pause)

    def _again(self, request: Request, timer: int) -> None:
        if not self.gone and request.number in self.open and request.timer == timer:
            self._send(request)

    def _next(self) -> NodeId:
        """Round after round through all nodes it ever heard of, in any order."""
        if not self._round:
            self._round = [*self.world.nodes]
            self.world.rng.shuffle(self._round)
        return self._round.pop()

    def _go_to(self, node: NodeId, pause: int) -> None:
        """Ask everything that is not answered there, after a pause."""
        self.target = node
        self._moves += 1
        for request in self.open.values():
            request.timer += 1
        self.world.clockwork.after(pause, self._arrive, self._moves)

    def _arrive(self, moves: int) -> None:
        if self.gone or moves != self._moves:
            return
        if self.session:
            self._say(Hello(self.id, self.session))
        for request in [*self.open.values()]:
            request.tries = 0
            self._send(request)

    def _hello(self) -> None:
        if not self.gone:
            self._say(Hello(self.id, self.session))
            self.world.clockwork.after(HELLO, self._hello)
