"""Workers that take tasks through the bus and the ledger, and crash or stand still anywhere."""

from collections.abc import Callable
from typing import Any, cast

from bus.backend import HIGH, LOW, NORMAL, RETRY
from bus.errors import Unreachable
from bus.waking import Bell
from consensus.ledger.answers import Alive, Refused
from consensus.ledger.commands import (
    Join,
    KeepAlive,
    Leave,
    Open,
    Pass,
    PlaceBid,
    Renew,
)
from consensus.ledger.encoding import Signed
from contracts.auctions import Opening, Won
from tests.consensus.raft.invariants import must
from tests.sim import deeds
from tests.sim.caller import HELLO, Caller
from tests.sim.clockwork import MS, SECOND
from tests.sim.deeds import Deed
from tests.sim.shop import ROLE, Shop
from tests.sim.steps import AUCTION, Step
from tests.sim.surroundings import Surroundings

SLOTS = 2
QUIET = 16


class Worker:
    """A worker process. Each strand is one step that is under way."""

    def __init__(self, world: Surroundings, shop: Shop, number: int) -> None:
        self.world = world
        self.rng = world.rng
        self.shop = shop
        self.number = number
        self.life = 0
        self.calm = self.draining = False
        self.caller: Caller
        self._begin()

    def start(self) -> None:
        """Begin another life, if this one is over."""
        if self.caller.gone:
            self._begin()

    def drain(self) -> None:
        """End in order: no new task, no new award, what it holds is given back."""
        if not self.caller.session or self.draining:
            return
        self.draining = True
        self.caller.call(Leave(ROLE), lambda _: self._ends_when_done(self.caller, 20))

    def _ends_when_done(self, caller: Caller, tries: int) -> None:
        """Awards that were under way arrive within a few hellos."""
        if caller.gone:
            return
        if self.strands or tries > QUIET:
            self.world.clockwork.after(HELLO, self._ends_when_done, caller, tries - 1)
            return
        held = [token for token, session in self.shop.live() if session == caller.session]
        kept = [token for token in held if token in self.running and token not in self.left]
        must(not kept, "drained-holds-nothing", caller.name, kept)
        self.world.happened("drained")
        caller.crash()
        self.world.clockwork.after(self.rng.randrange(10 * MS, SECOND), self.start)

    def _begin(self) -> None:
        self.life += 1
        self.strands = 0
        self.draining = False
        self.running: dict[int, None] = {}
        self.asked: dict[str, int] = {}
        self.tokens: dict[Step, int] = {}
        self.left: dict[int, None] = {}
        client = -(1_000_000 + self.number * 1000 + self.life)
        self.caller = Caller(self.world, client, f"worker-{self.number}.{self.life}")
        self.caller.on_told = self._told
        self.caller.begin(self._joined)

    def crash(self) -> None:
        """The process ends, wherever it is."""
        self.caller.crash()

    def _joined(self) -> None:
        self._join()
        self._pull(self.caller)
        self._stay(self.caller)

    def _join(self, *_: Any) -> None:
        self.caller.call(Join(ROLE, (), SLOTS), lambda _: None)

    def _stay(self, caller: Caller) -> None:
        """Join again where it was taken for gone."""

        def heard(answer: Any) -> None:
            if isinstance(answer, Alive) and ROLE not in answer.roles and not self.draining:
                self._join()
            self.world.clockwork.after(SECOND, self._stay, caller)

        if not caller.gone:
            caller.call(KeepAlive(), heard)

    def _pull(self, caller: Caller) -> None:
        if caller.gone:
            return
        if self.strands < 3 and not self.draining and not self.shop.bus_away:
            bell, broker = cast("Bell", object()), self.shop.broker
            taken, group, _ = broker.pull(ROLE, (HIGH, RETRY, NORMAL, LOW), 1, bell)
            broker.leave(group, bell)
            for delivery in taken:
                self._strand(self.shop.steps.pulled(delivery))
        self.world.clockwork.after(self.rng.randrange(20 * MS, 80 * MS), self._pull, caller)

    def _told(self, one: Opening | Won) -> None:
        if isinstance(one, Won):
            if one.token not in self.running:
                self.running[one.token] = None
                self._strand(self.shop.steps.won(one), one.token)
        elif self.asked.get(one.key) == one.round:
            return
        elif self.calm or self.rng.random() < 0.9:
            self.asked[one.key] = one.round
            score = Signed(self.rng.randrange(10))
            self.caller.call(PlaceBid(one.key, one.round, score, 0, b""), lambda _: None)
        else:
            self.asked[one.key] = one.round
            self.caller.call(Pass(one.key, one.round, b""), lambda _: None)

    def _strand(self, step: Step, token: int = 0) -> None:
        self.strands += 1
        self.tokens[step] = token
        self._go_on(self.caller, step, None)

    def _go_on(self, caller: Caller, step: Step, answer: Any) -> None:
        """Send what came of the last deed, and do the next; a crashed process does neither."""
        if caller.gone:
            return
        try:
            deed = step.throw(answer) if isinstance(answer, Unreachable) else step.send(answer)
        except (StopIteration, Unreachable) as end:
            self.strands -= 1
            token = self.tokens.pop(step)
            if isinstance(end, Unreachable):
                self.left[token] = None
            return
        self._do(caller, deed, lambda found: self._go_on(caller, step, found))

    def _do(self, caller: Caller, deed: Deed, then: Callable[[Any], None]) -> None:
        match deed:
            case deeds.Say(command=command):
                if isinstance(command, Open):
                    self.shop.opens(command.key)
                caller.call(command, then)
            case deeds.See(key=key):
                caller.look(key, then)
            case deeds.Run():
                self._run(caller, deed, then)
            case deeds.IsAway():
                then(caller.is_away())
            case deeds.RunQueued(delivery=delivery):
                key = delivery.message.headers[AUCTION]
                must(key not in self.shop.opened, "fallback-unopened", key)
                time = self.rng.randrange(10, 2 * self.world.options.lease_ms) * MS
                self.world.clockwork.after(time, then, f"{key} queued".encode())
            case _:
                self.world.clockwork.after(self._way(), self._reach, deed, then, 3)

    def _reach(self, deed: Deed, then: Callable[[Any], None], tries: int) -> None:
        """What was sent has its effect, whether or not its sender still lives, or hears of it."""
        try:
            self.shop.check(deed)
            found = self.shop.do(deed)
        except Unreachable as error:
            self.world.clockwork.after(self._way(), self._missed, deed, then, tries, error)
        else:
            self.world.clockwork.after(self._way(), self._answered, deed, then, tries, found)

    def _answered(self, deed: Deed, then: Callable[[Any], None], tries: int, found: Any) -> None:
        try:
            self.shop.check(deed)
        except Unreachable as error:
            self._missed(deed, then, tries, error)
        else:
            then(found)

    def _missed(
        self, deed: Deed, then: Callable[[Any], None], tries: int, error: Unreachable
    ) -> None:
        """Try again, or give up; nobody knows whether it was done."""
        if tries > 1 and self.rng.random() < 0.7:
            pause = self.rng.randrange(50 * MS, 500 * MS)
            self.world.clockwork.after(pause, self._reach, deed, then, tries - 1)
        else:
            self.unreachable(then, error)

    def unreachable(self, then: Callable[[Any], None], error: Unreachable) -> None:
        """The strand ends where it is: the lease of a delivery, or of an award, brings it back."""
        then(error)

    def _way(self) -> int:
        """The time to or from a server; now and then the process stands still for longer than any
        lease."""
        if not self.calm and self.rng.random() < 0.02:
            return self.rng.randrange(3 * SECOND)
        return self.rng.randrange(100, 3 * MS)

    def _run(self, caller: Caller, run: deeds.Run, then: Callable[[Any], None]) -> None:
        won, lost = run.won, False
        most = run.lease_ms * (1 if self.calm else 2)
        until = self.world.clockwork.now + self.rng.randrange(10, most) * MS

        def heard(answer: Any) -> None:
            nonlocal lost
            lost = lost or (isinstance(answer, Refused))

        def beat() -> None:
            if caller.gone:
                return
            if self.draining and not lost:
                then(deeds.GIVEN_BACK)
                return
            if lost or self.world.clockwork.now >= until:
                then(None if lost else f"{won.key} {won.token}".encode())
                return
            caller.call(Renew(won.key, won.token), heard)
            self.world.clockwork.after(min(run.lease_ms * MS // 3, self._left(until)), beat)

        beat()

    def _left(self, until: int) -> int:
        return max(1, until - self.world.clockwork.now)


class TakesSilenceForDone(Worker):
    """Breaks a rule on purpose: what the bus or the store did not answer is taken for done."""

    def unreachable(self, then: Callable[[Any], None], error: Unreachable) -> None:  # noqa: ARG002
        then(None)
