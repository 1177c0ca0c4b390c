"""The server of the in-memory bus: routing, dedupe and sizes; groups keep what was accepted.

Every method is one step under one lock, so it may be called from the loops of several threads.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from threading import RLock
from types import MappingProxyType
from typing import Protocol

from bus.backend import Delivery, Lag, Lane, LaneName, Message, Turn, is_owed
from bus.backends.memory_faults import Faults
from bus.backends.memory_group import Group, Lease, size_of
from bus.errors import Conflict, Unreachable
from bus.fullness import fits, full
from bus.keyvalue.memory import MemoryStore
from bus.sizes import check_sizes
from bus.turns import named
from bus.unbound import not_bound, unroutable
from bus.waking import Bell
from contracts.clock import Clock
from contracts.errors import InvalidValue
from contracts.topics import matches_any

WINDOW = 120.0
"""Seconds within which the same dedupe key is the same message (promise 4)."""

_ROUTES_KEPT = 4096


class Connection(Protocol):
    """What the broker needs to know of those connected to it."""

    def crashed(self) -> None:
        """The process of this connection is gone: every call raises `Closed`."""
        ...


class MemoryBroker:
    """The server: bindings, messages, dedupe keys, leases, and a key-value store (`store`).

    `lease` is in seconds; it and the number of `slices` a lane is cut into are the same for all,
    as for a fleet; `max_bytes` is what its messages may fill. May be used from the loops of several
    threads. `crash`, `outage` and `restore` are faults on demand.
    """

    def __init__(
        self, clock: Clock, *, lease: float = 10.0, slices: int = 1, max_bytes: int | None = None
    ) -> None:
        self.clock = clock
        self.lease = lease
        self.slices = slices
        self.max_bytes = max_bytes
        self.store = MemoryStore(clock)
        self._groups: dict[str, Group] = {}
        self._routes: dict[str, tuple[Group, ...]] = {}
        self._seen: set[str] = set()
        self._seen_order: deque[tuple[float, str]] = deque()
        self._lock = RLock()
        self._down = False
        self.faults = Faults()

    def crash(self, connection: Connection) -> None:
        """The process behind `connection` is gone without a word: what it held comes back by its
        lease, and its calls, those under way too, raise `Closed`."""
        connection.crashed()
        self.call_all()

    def outage(self) -> None:
        """From now on every call, those under way too, raises `Unreachable`; time goes on."""
        self._down = True
        self.store.outage()
        self.call_all()

    def restore(self) -> None:
        """End the outage; everything accepted is still there, and watches start over."""
        self._down = False
        self.store.restore()

    def check(self) -> None:
        """Raise `Unreachable` during an outage."""
        if self._down:
            raise Unreachable(
                "the broker did not answer",
                details="the in-memory broker has an outage",
                actions=("call restore() on it",),
            )

    def call_all(self) -> None:
        """Let every waiting pull look again."""
        with self._lock:
            for group in self._groups.values():
                group.call_all()

    def bind(self, name: str, patterns: Sequence[str]) -> None:
        """Route to `name` what matches `patterns`, from now on."""
        with self._lock:
            self._routes.clear()
            group = self._groups.setdefault(name, Group(name, patterns, self.slices))
            group.patterns = tuple(patterns)

    def unbind(self, name: str, *, drop: bool) -> None:
        """Forget the group; `Conflict` if it is not empty, unless `drop`."""
        with self._lock:
            group = self._groups.get(name)
            if group is None:
                return
            if not drop and not group.empty():
                raise Conflict(
                    f"messages are waiting for {name!r}",
                    details="a group is only forgotten when nothing waits, is delayed or leased",
                    actions=("let its workers finish", "drop what waits, knowingly"),
                )
            self._routes.clear()
            del self._groups[name]
            group.call_all()

    def publish(self, messages: Sequence[Message], *, follow_up: bool = False) -> None:
        """Accept all, or raise `TooLarge`, `Unroutable` or `Full` and accept none."""
        check_sizes(messages)
        with self._lock:
            self.faults.refused()
            for message in messages:
                if is_owed(message) and not self._targets(message):
                    raise unroutable(message, self._groups)
            self._admit(messages, follow_up)
            self._accept(messages)

    def pull(
        self, name: str, lanes: Sequence[Lane | Turn], limit: int, bell: Bell
    ) -> tuple[list[Delivery], Group, float]:
        """What can be had now; if nothing, `bell` rings when to look again, and the seconds say
        when to do so at the latest. Then `leave` the group with that bell.

        Nobody need be told of a lease begun later: it outlasts this wait.
        """
        with self._ripe(name) as group:
            now = self.clock.monotonic()
            taken = self.faults.arrived(group.take(lanes, limit, now + self.lease))
            if not taken:
                group.wait(bell, named(lanes))
            group.call()
            look = group.change_in(self.clock.wall(), now)
            return taken, group, min(look, self.lease)

    def leave(self, group: Group, bell: Bell) -> None:
        """Whoever waited at `bell` since its pull does so no longer."""
        with self._lock:
            group.leave(bell)

    def settle(self, deliveries: Sequence[Delivery], then: Sequence[Message]) -> list[Delivery]:
        """Accept `then` and forget `deliveries` in one step; return those not owned."""
        check_sizes(then)
        with self._lock:
            lost = self._lost(deliveries)
            if deliveries and len(lost) == len(deliveries):
                return lost
            for message in then:
                if message.group is not None and not self._targets(message):
                    raise unroutable(message, self._groups)
            self._accept(then)
            for delivery in set(deliveries).difference(lost):
                lease = receipt(delivery)
                lease.group.forget(lease)
                if self.faults.doubled(delivery.message):
                    lease.group.add(delivery.message, self.clock.wall())
                    lease.group.call()
            return lost

    def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Renew the leases that are owned; return the other deliveries."""
        with self._lock:
            lost = self._lost(deliveries)
            until = self.clock.monotonic() + self.lease
            for delivery in set(deliveries).difference(lost):
                lease = receipt(delivery)
                lease.group.renew(lease, until)
            return lost

    def lag(self, name: str) -> Mapping[Lane, Lag]:
        """What lies in each lane of the group now."""
        with self._ripe(name) as group:
            return group.lag()

    @contextmanager
    def _ripe(self, name: str) -> Iterator[Group]:
        """The group, locked and up to date; `Unroutable` when it is not bound."""
        with self._lock:
            group = self._groups.get(name)
            if group is None:
                raise not_bound(name, self._groups)
            group.ripen(self.clock.wall(), self.clock.monotonic())
            yield group

    def _admit(self, messages: Sequence[Message], follow_up: bool) -> None:
        """Raise `Full` unless there is room for all of them."""
        if self.max_bytes is None:
            return
        used = sum(group.bytes for group in self._groups.values())
        size = sum(size_of(m) * len(self._targets(m)) for m in messages)
        if not fits(used, size, self.max_bytes, follow_up=follow_up):
            lags = {name: group.lag() for name, group in self._groups.items()}
            raise full(used, size, self.max_bytes, lags)

    def _lost(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        now = self.clock.monotonic()
        return [d for d in deliveries if not self._owned(receipt(d), now)]

    def _owned(self, lease: Lease, now: float) -> bool:
        group = lease.group
        return self._groups.get(group.name) is group and group.owns(lease, now)

    def _accept(self, messages: Iterable[Message]) -> None:
        """Keep each message for each of its groups unless its key was seen within the window."""
        wall, now = self.clock.wall(), self.clock.monotonic()
        self._age_keys(now)
        reached: dict[Group, None] = {}
        for message in messages:
            targets = self._targets(message)
            copies: list[tuple[Message, tuple[Group, ...]]] = [(message, targets)]
            if message.group is None and message.due:
                copies = [(replace(message, group=group.name), (group,)) for group in targets]
            for copy, groups in copies:
                if self._is_new(copy.key(), now):
                    self._keep(copy, groups, wall)
                    reached.update(dict.fromkeys(groups))
        for group in reached:
            group.call()

    def _keep(self, message: Message, groups: Iterable[Group], wall: float) -> None:
        lane = message.lane
        if message.due or message.copy:
            lane = Lane(LaneName.RETRY, lane.slice)
        m, headers = message, MappingProxyType(dict(message.headers))
        kept = Message(m.id, m.copy, m.topic, bytes(m.body), headers, lane, m.due, m.group)
        for group in groups:
            late = self.faults.held_back(kept)
            group.add(replace(kept, due=wall + late) if late else kept, wall)

    def _is_new(self, key: str, now: float) -> bool:
        if key in self._seen:
            return False
        self._seen.add(key)
        self._seen_order.append((now, key))
        return True

    def _age_keys(self, now: float) -> None:
        while self._seen_order and self._seen_order[0][0] + WINDOW <= now:
            self._seen.remove(self._seen_order.popleft()[1])

    def _targets(self, message: Message) -> tuple[Group, ...]:
        if message.group is not None:
            group = self._groups.get(message.group)
            return () if group is None else (group,)
        found = self._routes.get(message.topic)
        if found is None:
            groups = self._groups.values()
            found = tuple(g for g in groups if matches_any(g.patterns, message.topic))
            if len(self._routes) >= _ROUTES_KEPT:
                self._routes.clear()
            self._routes[message.topic] = found
        return found


def receipt(delivery: Delivery) -> Lease:
    """The lease of a delivery made by this module."""
    if not isinstance(delivery.receipt, Lease):
        raise InvalidValue("this delivery is not from the in-memory broker")
    return delivery.receipt
