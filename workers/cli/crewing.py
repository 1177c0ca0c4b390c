"""The parts of `muster up` that run side by side: supervisor, crew and scaler."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bus.bus import Bus
from bus.keyvalue import keys
from bus.keyvalue.protocol import KeyValue
from contracts.clock import SystemClock
from workers.fleet import standing
from workers.fleet.asking import hears_bus
from workers.fleet.crew import Crew
from workers.fleet.drain import Service
from workers.fleet.farewells import Farewells
from workers.fleet.machine import Machine, Offer
from workers.fleet.membership import Membership
from workers.fleet.presence import at_once
from workers.fleet.replicas import Range
from workers.fleet.scaler import Scaler
from workers.fleet.seat import Spec
from workers.fleet.supervisor import Supervisor
from workers.settings import Loaded


@dataclass(frozen=True, slots=True)
class Plan:
    """What may run here: by role, how its process is started, what was told of its number, and
    the patterns it listens to if it is to run at all."""

    loaded: Loaded
    specs: Mapping[str, Spec]
    offers: Mapping[str, Offer]
    listens: Mapping[str, Sequence[str]]
    json: bool


@dataclass(frozen=True, slots=True)
class Parts:
    """What keeps the processes, what says which, and what follows the work. `members`: for roles
    that may have no process, so that they are not taken for deserted; `farewells`: for processes
    that say none."""

    supervisor: Supervisor
    crew: Crew
    scaler: Scaler
    members: Sequence[Membership]
    farewells: Farewells

    async def run(self) -> None:
        """Run all until `stop`, or until one of them fails; raises the first failure."""
        tasks = [asyncio.create_task(service.run()) for service in self._services()]
        try:
            done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            if rest:
                self.stop()
                await asyncio.wait(rest)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.farewells.close()
        for task in (*done, *rest):
            task.result()

    def stop(self) -> None:
        """Give up the seats and let every process end; a second time, kill what is left."""
        for service in self._services():
            service.stop()

    def _services(self) -> list[Service]:
        return [self.crew, self.scaler, *self.members, self.supervisor]


async def forget_killed(store: KeyValue, state: Path) -> None:
    """Free the seats of the supervisor that ran in this folder before and was killed: that we may
    run here shows that it does not, and nobody need wait for its sign of life to lapse."""
    left = standing.find(state)
    if left is not None and left.machine:
        await store.delete(keys.machine(left.machine))


def parts_of(plan: Plan, bus: Bus, supervisor: Supervisor) -> Parts:
    """The parts for what is planned, on `bus`."""
    clock, lease = SystemClock(), plan.loaded.settings.fleet.lease
    me = Machine.here(str(plan.loaded.folder), plan.offers, clock.wall())
    crew = Crew(bus.store, clock, me, plan.specs, supervisor, lease=lease, hears=hears_bus)
    scaler = Scaler(bus, clock, crew.board, crew.name, lease=lease)
    members = [
        Membership(bus, clock, role, listens, ready=at_once)
        for role, listens in plan.listens.items()
        if isinstance(range_ := plan.offers[role].replicas, Range) and not range_.min
    ]
    farewells = Farewells(bus.store, clock)
    supervisor.died = farewells.died
    return Parts(supervisor, crew, scaler, members, farewells)
