"""Workers that take tasks through the bus and the ledger, and crash or stand still anywhere."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from bus.backend import HIGH, LOW, NORMAL, RETRY, Message
from bus.backends.memory_broker import MemoryBroker
from bus.errors import Unreachable
from bus.waking import Bell
from consensus.ledger.answers import Alive, Answer, Finished, Refused
from consensus.ledger.commands import (
    Adopt,
    Complete,
    Join,
    KeepAlive,
    Leave,
    Open,
    Pass,
    PlaceBid,
    Renew,
)
from consensus.ledger.encoding import Signed
from consensus.ledger.entries import Entry
from contracts.auctions import Opening, Won
from tests.consensus.ledger.watch import Watch
from tests.consensus.raft.invariants import must
from tests.sim import steps
from tests.sim.caller import HELLO, Caller
from tests.sim.clockwork import MS, SECOND
from tests.sim.steps import Deed, Delete, Get, Put, Step, Steps, Terms
from tests.sim.surroundings import Surroundings

ROLE = "work"
SLOTS = 2
QUIET = 16
LEASE = 2.0
"""Seconds a delivery of the bus is leased for."""


class Shop:
    """The bus and the key-value store, the tasks that were published, and what came of them."""

    def __init__(self, world: Surroundings, steps_: type[Steps], watched: Watch) -> None:
        options = world.options
        self.world = world
        self.broker = MemoryBroker(world.clockwork, lease=LEASE)
        self.broker.bind(ROLE, ("work.#",))
        self.broker.bind(steps.RESULTS, (steps.RESULTS,))
        terms = Terms(ROLE, options.window_ms, options.lease_ms, 3, options.fallback)
        self.steps = steps_(terms)
        self.watched = watched
        self.completed = watched.completed
        self.tasks: dict[str, bytes] = {}
        self.published: dict[str, bytes] = {}
        self.buried: dict[str, str] = {}
        self.queued: dict[str, bytes] = {}
        self.opened: set[str] = set()
        self.bus_away = self.store_away = False

    def add(self, number: int) -> None:
        """A task is published."""
        name = f"task-{number}"
        message = Message(name, 0, "work.now", name.encode(), {steps.AUCTION: f"{name}.0"})
        self.broker.publish([message])
        self.tasks[f"{name}.0"] = message.body

    def check(self, deed: Deed) -> None:
        """Raise `Unreachable` where what a deed needs does not answer."""
        away = self.store_away if isinstance(deed, Get | Put | Delete) else self.bus_away
        if away:
            raise Unreachable(f"{type(deed).__name__} was not answered")

    def opens(self, key: str) -> None:
        """Somebody sends an `open`: no copy of the task is run without an award any more."""
        self.opened.add(key)
        must(key not in self.queued, "queue-or-ledger", key)

    def do(self, deed: Deed) -> Any:
        """Do what can be done at once."""
        store = self.broker.store
        match deed:
            case steps.Get(key=key):
                entry = store.get(key)
                return entry.value if entry else None
            case steps.Put(key=key, value=value):
                store.put(key, value, None, None)
            case steps.Delete(key=key):
                store.delete(key, None)
            case steps.Publish():
                self._publish(deed)
            case steps.Settle():
                self._settle(deed)
            case steps.SettleQueued():
                self._settle_queued(deed)
            case steps.Bury(delivery=delivery, reason=reason):
                self.buried[delivery.message.headers[steps.AUCTION]] = reason
                self.broker.settle([delivery], ())
            case _:
                raise AssertionError(f"nothing to be done at once: {deed}")
        return None

    def _publish(self, deed: steps.Publish) -> None:
        token = self.completed.get(deed.key)
        must(token == deed.token, "no-lapsed-result", deed.key, deed.token, token)
        known = self.published.setdefault(deed.key, deed.message.body)
        must(known == deed.message.body, "one-result", deed.key, known, deed.message.body)
        self.broker.publish([deed.message], follow_up=True)

    def _settle_queued(self, deed: steps.SettleQueued) -> None:
        key = deed.delivery.message.headers[steps.AUCTION]
        if self.broker.settle([deed.delivery], [deed.message]):
            return
        must(key not in self.opened, "queue-or-ledger", key)
        must(key not in self.published, "one-result", key)
        self.queued[key] = self.published[key] = deed.message.body
        self.world.happened("run while the ledger was away")

    def _settle(self, deed: steps.Settle) -> None:
        then, now = deed.then, self.broker.clock.wall()
        self.broker.settle(
            [deed.delivery], [replace(then, due=now + deed.after)] if then is not None else []
        )
        key = deed.delivery.message.headers[steps.AUCTION]
        must(then is not None or self.has_ended(key), "no-lost-task", key)

    def has_ended(self, key: str) -> bool:
        """Whether something came of a task."""
        return key in self.published or key in self.buried

    def all_ended(self) -> bool:
        """Whether something came of every task."""
        return all(map(self.has_ended, self.tasks))

    def heard(self, entry: Entry, answer: Answer) -> None:
        """An entry was committed: a task is completed only when its outcome is stored."""
        command = entry.command
        if not isinstance(command, Complete | Adopt) or command.key not in self.tasks:
            return
        if isinstance(answer, Finished) and command.key not in self.published:
            found = self.do(steps.Get(steps.outcome_at(command.key, command.token)))
            must(found is not None, "outcome-before-complete", command)

    def live(self) -> list[tuple[int, int]]:
        """Token and session of every live award."""
        return [*self.watched.live.values()]

    def judge(self) -> None:
        """Nothing is lost; what is completed has its result."""
        for key in self.tasks:
            must(self.has_ended(key), "no-lost-task", key)
            if key in self.completed:
                must(key in self.published, "completed-has-result", key)


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
        kept = [token for token in held if token in self.running]
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
                self._strand(self.shop.steps.won(one))
        elif self.asked.get(one.key) == one.round:
            return
        elif self.calm or self.rng.random() < 0.9:
            self.asked[one.key] = one.round
            score = Signed(self.rng.randrange(10))
            self.caller.call(PlaceBid(one.key, one.round, score, 0, b""), lambda _: None)
        else:
            self.asked[one.key] = one.round
            self.caller.call(Pass(one.key, one.round, b""), lambda _: None)

    def _strand(self, step: Step) -> None:
        self.strands += 1
        self._go_on(self.caller, step, None)

    def _go_on(self, caller: Caller, step: Step, answer: Any) -> None:
        """Send what came of the last deed, and do the next; a crashed process does neither."""
        if caller.gone:
            return
        try:
            deed = step.throw(answer) if isinstance(answer, Unreachable) else step.send(answer)
        except (StopIteration, Unreachable):
            self.strands -= 1
            return
        self._do(caller, deed, lambda found: self._go_on(caller, step, found))

    def _do(self, caller: Caller, deed: Deed, then: Callable[[Any], None]) -> None:
        match deed:
            case steps.Say(command=command):
                if isinstance(command, Open):
                    self.shop.opens(command.key)
                caller.call(command, then)
            case steps.See(key=key):
                caller.look(key, then)
            case steps.Run():
                self._run(caller, deed, then)
            case steps.IsAway():
                then(caller.is_away())
            case steps.RunQueued(delivery=delivery):
                key = delivery.message.headers[steps.AUCTION]
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

    def _run(self, caller: Caller, run: steps.Run, then: Callable[[Any], None]) -> None:
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
                then(steps.GIVEN_BACK)
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
