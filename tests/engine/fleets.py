"""Fleets on the in-memory broker: by the clock's hand, or in real time with a keeper's thread."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from bus.backend import Delivery
from bus.backends.memory import MemoryBackend, MemoryBroker
from bus.bus import Bus
from bus.errors import BusError
from bus.keyvalue.memory import MemoryKeyValue
from contracts.clock import Clock, ManualClock, SystemClock
from contracts.events import TOLD_BY_PUBLISHERS, Event, decode_events
from contracts.limits import Limit
from contracts.topics import EVENTS
from workers.engine.host import Host
from workers.engine.identity import Identity
from workers.engine.keeper import Extender, Keeper
from workers.engine.worker import Worker
from workers.fleet.client import FleetClient
from workers.sdk.role import MARK, Role, role
from workers.telemetry.telling import Telling

T = TypeVar("T")

LEASE = 10.0
DRAIN = 0.5
"""Seconds of real time: how long a drain in these tests waits for a run that does not end."""

LONG = 2.0
"""Seconds of real time after which a worker that should have ended is cut."""

SOON = 600.0
"""Seconds of the manual clock, which pass in no time when nothing happens."""


def made(handler: Callable[..., Any], name: str = "worker", **options: Any) -> Role:
    """The role of this handler; by default it listens to `work.#`, its retries wait for little."""
    given = {"listens": "work.#", "backoff": 0.01, **options}
    found = getattr(role(name, **given)(handler), MARK)
    assert isinstance(found, Role)
    return found


class Renewing:
    """Renews what a process holds: leases, and with them its places."""

    def __init__(self, bus: Bus, backend: MemoryBackend) -> None:
        self._bus = bus
        self._backend = backend

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """As the keeper's connection does."""
        await self._bus.places.renew(self._bus.store)
        return await self._backend.extend(deliveries)

    async def close(self) -> None:
        """Whoever made the connection closes it."""


class Member:
    """One worker process of a fleet by the clock's hand."""

    def __init__(self, fleet: "ManualFleet", role_: Role, name: str, drain: float) -> None:
        self._broker = fleet.broker
        self.backend = MemoryBackend(fleet.broker)
        self.bus = fleet.bus_on(self.backend)
        self.keeper = Keeper(LEASE, fleet.clock, self._lost)
        who = Identity(name, 4711, "host")
        self.worker = Worker(
            role_,
            self.bus,
            self.keeper,
            who,
            fleet.clock,
            drain=drain,
            tenants=fleet.tenants,
            telling=fleet.telling,
        )
        self.keeping = asyncio.create_task(self.keeper.keep(Renewing(self.bus, self.backend)))
        self.running = asyncio.create_task(self.worker.run())

    def _lost(self, delivery: Delivery) -> None:
        self.worker.lose(delivery)

    def cut_off(self) -> None:
        """Nothing is renewed any more, and nobody here notices."""
        self.keeping.cancel()

    async def crash(self) -> None:
        """Its process is gone: what it held comes back by its lease, and nothing that is left of it
        here has an effect on others."""
        self.cut_off()
        self._broker.crash(self.backend)
        await self.bus.store.close()
        self.worker.abandon()

    async def end(self) -> None:
        """End it, drained or not; a long drain is cut: its test has failed already."""
        self.worker.stop()
        _, slow = await asyncio.wait([self.running], timeout=LONG)
        if slow:
            self.running.cancel()
            await asyncio.wait([self.running])
        else:
            self.running.exception()
        self.keeping.cancel()
        await asyncio.wait([self.keeping])
        await self.bus.close()


class ManualFleet:
    """A broker, its workers and a client, by the clock's hand."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.broker = MemoryBroker(self.clock, lease=LEASE)
        self.client = FleetClient(self.bus_on(MemoryBackend(self.broker)), self.clock)
        self.bus = self.client.bus
        self.members: list[Member] = []
        self.tenants: Mapping[str, Limit] = {}
        self.telling: Telling | None = None

    def bus_on(self, backend: MemoryBackend) -> Bus:
        """A bus over this connection."""
        store = MemoryKeyValue(self.broker.store)
        return Bus(backend, store, clock=self.clock, source="/test", rng=random.Random(7))

    async def start(self, role_: Role, *, name: str = "", drain: float = DRAIN) -> Member:
        """A worker of this role, bound."""
        member = Member(self, role_, name or f"w{len(self.members)}", drain)
        self.members.append(member)
        await self.within(member.worker.bound.wait())
        return member

    async def within(self, work: Coroutine[Any, Any, T], seconds: float = SOON) -> T:
        """The result of `work` while the clock goes on; the test fails if that takes longer."""
        task = asyncio.ensure_future(work)
        end = self.clock.monotonic() + seconds
        await self.clock.advance(0)
        while not task.done() and self.clock.monotonic() < end:
            await self.clock.advance(0.05)
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
            pytest.fail(f"not within {seconds:g} s of the clock")
        return task.result()

    async def until(self, holds: Callable[[], bool], seconds: float = SOON) -> None:
        """Let time pass until something holds."""
        end = self.clock.monotonic() + seconds
        await self.clock.advance(0)
        while not holds():
            assert self.clock.monotonic() < end, f"not within {seconds:g} s of the clock"
            await self.clock.advance(0.05)

    async def stopped(self, member: Member) -> None:
        """The member has drained; the clock goes on meanwhile."""
        member.worker.stop()
        while not member.running.done():
            await self.clock.advance(0.05)
        member.running.result()

    async def deliveries(self, group: str = "worker") -> list[Delivery]:
        """What can be had from the group now."""
        return await self.within(self.bus.pull(group, free=100, wait=0.0))

    async def dead(self) -> list[Any]:
        """All dead letters."""
        return [letter async for letter in self.bus.dead.all()]

    async def listen(self) -> Callable[[], Awaitable[list[Event]]]:
        """From now on hear what workers tell; the call tells what was heard so far."""
        await self.bus.bind("ear", [EVENTS])
        events: list[Event] = []

        async def heard() -> list[Event]:
            await self.clock.advance(1.0)
            for delivery in await self.deliveries("ear"):
                found = decode_events(delivery.message.body)
                events.extend(e for e in found if e.kind not in TOLD_BY_PUBLISHERS)
                await self.bus.forget(delivery)
            return sorted(events, key=lambda event: event.at)

        return heard

    async def close(self) -> None:
        """End everything."""
        for member in self.members:
            await member.end()
        await self.client.close()


class LiveFleet:
    """A broker and one worker process in real time: the keeper has its thread."""

    def __init__(self, lease: float) -> None:
        self.clock: Clock = SystemClock()
        self.lease = lease
        self.broker = MemoryBroker(self.clock, lease=lease)
        self.client = FleetClient(self._bus(), self.clock)

    def _bus(self) -> Bus:
        store = MemoryKeyValue(self.broker.store)
        return Bus(MemoryBackend(self.broker), store, clock=self.clock)

    async def extender(self) -> Extender:
        """The keeper's own connection."""
        return MemoryBackend(self.broker)

    @asynccontextmanager
    async def running(
        self, *roles: Role, drain: float = 5.0, extender: Callable[..., Any] | None = None
    ) -> AsyncIterator[Host]:
        """A host of these roles, ready; drained at the end."""
        bus, who = self._bus(), Identity.of_this_process()
        connect = extender or self.extender
        host = Host(roles, bus, who, self.clock, lease=self.lease, drain=drain, extender=connect)
        run = asyncio.create_task(host.run())
        try:
            await asyncio.wait_for(host.ready(), 5.0)
            yield host
        finally:
            host.stop()
            await run
            await bus.close()
            await self.client.close()


async def renewed_never(deliveries: object) -> list[Delivery]:
    """An `extend` that is never confirmed."""
    raise BusError(f"no answer for {deliveries}")
