"""Machines of these tests: real supervisors with real processes that do nothing, in one store."""

import asyncio
import itertools
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from bus.backoff import Backoff
from bus.keyvalue import keys
from bus.keyvalue.protocol import KeyValue
from contracts.clock import SystemClock
from workers.fleet import orders
from workers.fleet.crew import Crew
from workers.fleet.machine import Machine, Offer
from workers.fleet.orders import Order
from workers.fleet.replicas import Range
from workers.fleet.seat import Seat, Spec, State
from workers.fleet.supervisor import Supervisor

LEASE = 2.0
SECONDS = 20.0

LIVING = (
    "import os, signal, sys; signal.signal(15, lambda *_: sys.exit(0));"
    "os.write(0, b'ready'); signal.pause()"
)
DYING = "raise SystemExit(3)"


class Here:
    """One machine; `hears`: what its workers answer when they are asked whether they hear."""

    def __init__(self, store: KeyValue, since: float, codes: dict[str, str], **own: int) -> None:
        self.clock = SystemClock()
        self.store = store
        self.hears = True
        offers = {role: Offer(1, own.get(role)) for role in codes}
        specs = {r: Spec(r, command=[sys.executable, "-S", "-c", c]) for r, c in codes.items()}
        me = Machine.here("/", offers, since)
        self.supervisor = Supervisor(
            (), self.clock, grace=10.0, backoff=Backoff(base=0.05, cap=0.5), rng=random.Random(1)
        )
        self.crew = Crew(
            store, self.clock, me, specs, self.supervisor, lease=LEASE, hears=self._hears, deaf=0.0
        )
        self.supervisor.changed = self.crew.changed
        self._tasks = [
            asyncio.create_task(self.supervisor.run()),
            asyncio.create_task(self.crew.run()),
        ]

    @property
    def name(self) -> str:
        """Its name in the store."""
        return self.crew.name

    def seats(self, role: str) -> int:
        """How many processes it keeps for the fleet, those that drain not counted."""
        staying = [s for s in self.supervisor.seats() if not s.stopping]
        return sum(seat.spec.role == role for seat in staying)

    def ready(self, role: str) -> int:
        """How many of them work."""
        found = [s for s in self.supervisor.seats() if not s.stopping and s.spec.role == role]
        return sum(seat.info.state is State.READY for seat in found)

    async def stop(self) -> None:
        """End in good order."""
        self.crew.stop()
        self.supervisor.stop()
        await asyncio.gather(*self._tasks)

    async def kill(self) -> None:
        """End as when it is killed with its processes: nothing is given up."""
        self.crew._leave = _nothing  # type: ignore[method-assign]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _hears(self, _keeper: Seat) -> bool:
        return self.hears


async def _nothing() -> None:
    return


class Hall:
    """The machines of a test, and whoever watches them."""

    def __init__(self, connect: "Callable[[], object]") -> None:
        self._connect = connect
        self._since = itertools.count()
        self.machines: list[Here] = []

    async def machine(self, *roles: str, **own: int) -> Here:
        """Another machine, which has come last."""
        return await self.having(dict.fromkeys((*roles, *own), LIVING), **own)

    async def having(self, codes: dict[str, str], **own: int) -> Here:
        """Another machine, with the code of its roles."""
        store: KeyValue = await self._connect()  # type: ignore[misc]
        here = Here(store, float(next(self._since)), codes, **own)
        self.machines.append(here)
        return here

    async def scale(self, role: str, replicas: int | Range) -> None:
        """As `muster scale` does it."""
        store = self.machines[0].store
        await orders.give(store, role, Order(replicas, "ada@h", 0.0), present=0)

    async def holders(self, role: str) -> list[str]:
        """Who has the seats of a role, by the store."""
        found = await self.machines[0].store.list(keys.seats())
        return [e.value.decode() for e in found if e.key.startswith(f"seat/{role}/")]


async def until(what: Callable[[], "bool | Awaitable[bool]"], seconds: float = SECONDS) -> None:
    """Wait for what several processes come to."""
    async with asyncio.timeout(seconds):
        while True:
            found = what()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.01)


def spread(machines: Sequence[Here], role: str) -> list[int]:
    """How many processes each keeps."""
    return [machine.seats(role) for machine in machines]


@asynccontextmanager
async def hall(connect: "Callable[[], object]") -> AsyncIterator[Hall]:
    """Machines that end with the block."""
    made = Hall(connect)
    try:
        yield made
    finally:
        for machine in made.machines:
            machine.supervisor.stop()
            machine.supervisor.stop()
            await machine.kill()
