"""A storm over one broker: groups whose patterns overlap, connections that drop, bindings that
change; and who was owed what."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from types import MappingProxyType

from bus.backend import Delivery, Lag
from bus.bus import Bus
from bus.deadletters import DeadLetter
from bus.errors import BusError
from bus.opening import Parts
from bus.settling import Finished, Policy, from_message
from bus.suspects import Blame
from contracts.clock import SystemClock
from contracts.events import Kind, decode_events
from contracts.outcomes import Done
from contracts.topics import EVENTS, RECORDER, matches_any
from tests.beside import beside
from tests.pains.publisher import Publisher
from workers.settings import Loaded, load
from workers.wiring import open_bus, open_parts

TOPICS = ("storm.a.x", "storm.a.y", "storm.b.x", "storm.b.y")

PATTERNS: Mapping[str, tuple[tuple[str, ...], ...]] = MappingProxyType(
    {
        "all": (("storm.#",),),
        "some": (("storm.a.#", "storm.*.x"),),
        "changing": (("storm.#",), ("storm.*.x", "storm.*.y", "storm.a.#"), ("storm.*.*",)),
    }
)
"""What each group is bound to, by turns: whatever its turn, the same topics."""

LEAST = 2_000
"""Deliveries that are accepted and not settled at each kill."""

_DROPS = 0.03
"""Share of pulls after which a connection is dropped with everything in its hands."""

_POLICY = Policy(attempts=10)
_BLAME = Blame(_POLICY, "storm", 1)


class Ledger:
    """Who is owed what, and what each group has settled.

    A broker that is killed just after a settle may not have answered: asked again, it says that the
    delivery is no longer ours, and only the end of the run, which was kept in the same step, tells
    that it was done. `doubtful` are those; `told` are the ends that were kept, of whatever group.
    """

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._owing = {topic: _owing(topic) for topic in TOPICS}
        self._owed: dict[str, int] = {}
        self.settled: Counter[tuple[str, str]] = Counter()
        self.doubtful: set[tuple[str, str]] = set()
        self.told: set[tuple[str, str]] = set()
        self.drops = 0

    def owed(self) -> int:
        """Accepted ids, once for each group."""
        self._publisher.look()
        counts = self._publisher.counts
        return sum(count * len(self._owing[topic]) for topic, count in counts.items())

    def unfinished(self) -> int:
        """Accepted and not settled by a group that is owed it, at least."""
        return self.owed() - len(self.settled)

    def lost(self) -> list[tuple[str, str]]:
        """What was accepted and has not been settled by a group it is owed to."""
        self._publisher.look()
        done = self.settled.keys() | (self.doubtful & self.told)
        return [
            (group, id_)
            for id_, topic in self._publisher.accepted.items()
            for group in self._owing[topic]
            if (group, id_) not in done
        ]

    def doubles(self) -> int:
        """Settled more than once by one group."""
        return self.settled.total() - len(self.settled)


def _owing(topic: str) -> tuple[str, ...]:
    groups = [group for group, turns in PATTERNS.items() if matches_any(turns[0], topic)]
    for group, turns in PATTERNS.items():
        assert {matches_any(turn, topic) for turn in turns} == {group in groups}
    return tuple(groups)


class Storm:
    """Consumers on connections of their own, and one that binds a group anew."""

    def __init__(self, url: str, fleet: str, folder: Path, ledger: Ledger) -> None:
        self.ledger = ledger
        self._keep = LEAST + LEAST // 4
        self._loaded = _settings(url, fleet, folder)
        self._clock = SystemClock()
        self._rng = random.Random(3)
        self._turns = cycle(PATTERNS["changing"])
        self._binding = asyncio.Lock()

    @asynccontextmanager
    async def blowing(self, every: float) -> AsyncIterator[None]:
        """Two consumers for each group, and a new binding `every` so many seconds."""
        consumers = [self._consume_for_ever(group) for group in PATTERNS for _ in range(2)]
        async with beside(*consumers, self._rebind_for_ever(every)):
            yield

    async def piled_up(self) -> int:
        """How much is unfinished, as soon as that is enough. From now on no less is kept."""
        while True:
            unfinished = self.ledger.unfinished()
            if unfinished >= LEAST:
                return unfinished
            await asyncio.sleep(0.01)

    async def goes_on(self) -> None:
        """Return when more has been accepted than now."""
        before, now = self.ledger.owed(), 0
        while now <= before:
            now = self.ledger.owed()
            await asyncio.sleep(0.01)

    async def blow_over(self) -> None:
        """Consume everything; return when all that is owed is settled and nothing is left."""
        bus = await open_bus(self._loaded)
        try:
            while self.ledger.lost() or not await _empty(bus):
                self._keep = 0
                await self._read(bus)
                await asyncio.sleep(0.1)
        finally:
            await bus.close()

    async def _read(self, bus: Bus) -> None:
        """What is told of ends, as a recorder gets it."""
        while found := await bus.pull(RECORDER, free=100, wait=0):
            for event in (one for each in found for one in decode_events(each.message.body)):
                if event.kind is Kind.SUCCEEDED:
                    self.ledger.told.add((event.role, event.task))
            await bus.forget_all(found)

    async def dead(self) -> list[DeadLetter]:
        """Every dead letter of the fleet."""
        bus = await open_bus(self._loaded)
        try:
            return [letter async for letter in bus.dead.all()]
        finally:
            await bus.close()

    async def rebind(self) -> None:
        """The next turn of the group that changes, also while the broker is away for a moment."""
        async with self._binding:
            patterns = next(self._turns)
            while True:
                with contextlib.suppress(BusError):
                    bus = await open_bus(self._loaded)
                    try:
                        return await bus.bind("changing", patterns)
                    finally:
                        await _close(bus)
                await asyncio.sleep(0.05)

    async def _rebind_for_ever(self, seconds: float) -> None:
        while True:
            await self.rebind()
            await asyncio.sleep(seconds)

    async def _consume_for_ever(self, group: str) -> None:
        """Pull and settle as long as enough is left; now and then drop the connection."""
        while True:
            with contextlib.suppress(BusError):
                parts = await open_parts(self._loaded, self._clock, "storm")
                bus = Bus(parts.backend, parts.store, clock=self._clock)
                try:
                    await self._consume(bus, parts, group)
                finally:
                    await _close(bus)
                    await parts.close()
            await asyncio.sleep(0.05)

    async def _consume(self, bus: Bus, parts: Parts, group: str) -> None:
        while True:
            if self.ledger.unfinished() < self._keep:
                await asyncio.sleep(0.02)
                continue
            found = await bus.pull(group, free=100, wait=1.0, blame=_BLAME)
            if found and self._rng.random() < _DROPS:
                self.ledger.drops += 1
                return await parts.close()
            await self._settle(bus, group, found)

    async def _settle(self, bus: Bus, group: str, found: Sequence[Delivery]) -> None:
        now = time.time()
        ends = [
            Finished(
                delivery=delivery,
                task=from_message(delivery.message),
                outcome=Done(),
                policy=_POLICY,
                worker="storm",
                pid=1,
                started=now,
                ended=now,
            )
            for delivery in found
        ]
        plans = await asyncio.gather(*map(bus.settle, ends), return_exceptions=True)
        for end, plan in zip(ends, plans, strict=True):
            if plan is None:
                self.ledger.doubtful.add((group, end.delivery.message.id))
            elif not isinstance(plan, BaseException):
                self.ledger.settled[group, end.delivery.message.id] += 1
        errors = [plan for plan in plans if isinstance(plan, BaseException)]
        if errors:
            raise errors[0]


def _settings(url: str, fleet: str, folder: Path) -> Loaded:
    """Of everybody in the storm: the lease is one for the whole fleet."""
    return load(folder, flags={"bus.url": url, "fleet.name": fleet, "fleet.lease": 2.0})


async def bind_all(url: str, fleet: str, folder: Path) -> None:
    """Before anything is published."""
    bus = await open_bus(_settings(url, fleet, folder))
    await bus.bind(RECORDER, [EVENTS])
    for group, turns in PATTERNS.items():
        await bus.bind(group, turns[0])
    await bus.close()


async def _close(bus: Bus) -> None:
    with contextlib.suppress(BusError):
        await bus.close()


async def _empty(bus: Bus) -> bool:
    """Whether nothing waits, is delayed or leased in any group."""
    lags = [each for group in PATTERNS for each in (await bus.lag(group)).values()]
    found = [lag for lag in lags if isinstance(lag, Lag)]
    return not any(lag.waiting is None or lag.waiting + (lag.leased or 0) for lag in found)
