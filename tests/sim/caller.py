"""A client of the ledger: one session, several commands on the way, retries and redirects."""

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
"""What is not answered by then is asked again, of another node; later and later."""

HELLO = 250 * MS
"""How often a client says that it is there."""


@dataclass(slots=True)
class Request:
    """One question until it is answered; `tries` tells its timers apart."""

    number: int
    seq: int
    command: Command | None
    key: str
    done: Callable[[Answer | Auction | None], None]
    operation: Operation | None
    tries: int = 0


class Caller:
    """One life of a client. A command is sent until it is answered, always under its number: it is
    done once, whatever is lost. When the client crashes nobody knows what became of the rest."""

    def __init__(self, world: Surroundings, client: NodeId, name: str) -> None:
        self.world = world
        self.id = client
        self.name = name
        self.session = 0
        self.gone = False
        self.target = world.any_node()
        self.on_told: Callable[[Opening | Won], None] = lambda _: None
        self._numbers = 0
        self._seq = 0
        self._open: dict[int, Request] = {}
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

        self._start(Request(self._number(), -1, OpenSession(nonce, self.name), "", opened, None))

    def crash(self) -> None:
        """The process ends."""
        self.gone = True
        self.world.clients.pop(self.id, None)

    def call(self, command: Command, done: Callable[[Answer | Auction | None], None]) -> None:
        """Say `command` in this session."""
        seq, self._seq = self._seq, self._seq + 1
        self._unacked[seq] = None
        key = getattr(command, "key", "")
        operation = self.world.history.begin(key, command) if key else None
        self._start(Request(self._number(), seq, command, key, done, operation))

    def look(self, key: str, done: Callable[[Answer | Auction | None], None]) -> None:
        """Read an auction."""
        operation = self.world.history.begin(key, None)
        self._start(Request(self._number(), -1, None, key, done, operation))

    def receive(self, reply: Reply) -> None:
        """An answer arrives, perhaps not for the first time."""
        if self.gone:
            return
        match reply:
            case Answered(number=number, index=index, answer=answer):
                request = self._open.pop(number, None)
                if request is not None:
                    self.world.acked(self, request.seq, index, answer)
                    self._finish(request, answer)
            case Seen(number=number, auction=auction):
                request = self._open.pop(number, None)
                if request is not None:
                    self._finish(request, auction)
            case Moved(number=number, leader=leader):
                self.target = leader if leader in self.world.nodes else self.world.any_node()
                self._retry_soon(number)
            case Told(one=one):
                self.on_told(one)

    def _finish(self, request: Request, answer: Answer | Auction | None) -> None:
        self._unacked.pop(request.seq, None)
        if request.operation is not None:
            self.world.history.end(request.operation, answer)
        request.done(answer)

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _start(self, request: Request) -> None:
        self._open[request.number] = request
        self._send(request)

    def _send(self, request: Request) -> None:
        request.tries += 1
        patience = PATIENCE << min(request.tries // 4, 3)
        self.world.clockwork.after(patience, self._late, request.number, request.tries)
        self._say(self._question(request))

    def _question(self, request: Request) -> Question:
        if request.command is None:
            return Look(self.id, request.number, self.world.read_token(), request.key)
        below = min(self._unacked, default=self._seq)
        return Ask(self.id, request.number, request.command, self.session, request.seq, below)

    def _say(self, question: Question) -> None:
        node = self.world.nodes[self.target]
        self.world.links.send(self.id, node.id, node.ask, question)

    def _late(self, number: int, tries: int) -> None:
        request = self._open.get(number)
        if request is not None and request.tries == tries and not self.gone:
            self.target = self.world.any_node()
            self._send(request)

    def _retry_soon(self, number: int) -> None:
        request = self._open.get(number)
        if request is not None:
            request.tries += 1
            pause = 30 * MS << min(request.tries // 4, 4)
            self.world.clockwork.after(pause, self._late_here, number, request.tries)

    def _late_here(self, number: int, tries: int) -> None:
        request = self._open.get(number)
        if request is not None and request.tries == tries and not self.gone:
            if self.world.rng.random() < 0.2:
                self.target = self.world.any_node()
            self._send(request)

    def _hello(self) -> None:
        if not self.gone:
            self._say(Hello(self.id, self.session))
            self.world.clockwork.after(HELLO, self._hello)
