"""The bus and the key-value store of a simulation, and what became of the tasks in them."""

from dataclasses import replace
from typing import Any

from bus.backend import Message
from bus.backends.memory_broker import MemoryBroker
from bus.errors import Unreachable
from consensus.ledger.answers import Answer, Finished
from consensus.ledger.commands import Adopt, Complete
from consensus.ledger.entries import Entry
from tests.consensus.ledger.watch import Watch
from tests.consensus.raft.invariants import must
from tests.sim import deeds, steps
from tests.sim.deeds import Deed
from tests.sim.steps import Steps, Terms
from tests.sim.surroundings import Surroundings

ROLE = "work"
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
        stores = isinstance(deed, deeds.Get | deeds.Put | deeds.Delete)
        away = self.store_away if stores else self.bus_away
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
            case deeds.Get(key=key):
                entry = store.get(key)
                return entry.value if entry else None
            case deeds.Put(key=key, value=value):
                store.put(key, value, None, None)
            case deeds.Delete(key=key):
                store.delete(key, None)
            case deeds.Publish():
                self._publish(deed)
            case deeds.Settle():
                self._settle(deed)
            case deeds.SettleQueued():
                self._settle_queued(deed)
            case deeds.Bury(delivery=delivery, reason=reason):
                self.buried[delivery.message.headers[steps.AUCTION]] = reason
                self.broker.settle([delivery], ())
            case _:
                raise AssertionError(f"nothing to be done at once: {deed}")
        return None

    def _publish(self, deed: deeds.Publish) -> None:
        token = self.completed.get(deed.key)
        must(token == deed.token, "no-lapsed-result", deed.key, deed.token, token)
        known = self.published.setdefault(deed.key, deed.message.body)
        must(known == deed.message.body, "one-result", deed.key, known, deed.message.body)
        self.broker.publish([deed.message], follow_up=True)

    def _settle_queued(self, deed: deeds.SettleQueued) -> None:
        key = deed.delivery.message.headers[steps.AUCTION]
        if self.broker.settle([deed.delivery], [deed.message]):
            return
        must(key not in self.opened, "queue-or-ledger", key)
        must(key not in self.published, "one-result", key)
        self.queued[key] = self.published[key] = deed.message.body
        self.world.happened("run while the ledger was away")

    def _settle(self, deed: deeds.Settle) -> None:
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
            found = self.do(deeds.Get(steps.outcome_at(command.key, command.token)))
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
