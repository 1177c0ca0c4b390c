"""The parts of `muster up` that run side by side: supervisor, crew and scaler."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bus.bus import Bus
from bus.keyvalue import keys
from bus.keyvalue.protocol import KeyValue
from contracts.clock import SystemClock
from workers.fleet import standing
from workers.fleet.asking import hears_bus
from workers.fleet.crew import Crew
from workers.fleet.machine import Machine, Offer
from workers.fleet.scaler import Scaler
from workers.fleet.seat import Spec
from workers.fleet.supervisor import Supervisor
from workers.settings import Loaded


@dataclass(frozen=True, slots=True)
class Parts:
    """What keeps the processes, what says which, and what follows the work."""

    supervisor: Supervisor
    crew: Crew
    scaler: Scaler

    async def run(self) -> None:
        """Run all until `stop`, or until one of them fails; raises the first failure."""
        services = (self.supervisor, self.crew, self.scaler)
        tasks = [asyncio.create_task(service.run()) for service in services]
        try:
            done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if rest:
                self.stop()
                await asyncio.wait(rest)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in (*done, *rest):
            task.result()

    def stop(self) -> None:
        """Give up the seats and let every process end; a second time, kill what is left."""
        self.crew.stop()
        self.scaler.stop()
        self.supervisor.stop()


async def forget_killed(store: KeyValue, state: Path) -> None:
    """Free the seats of the supervisor that ran in this folder before and was killed: that we may
    run here shows that it does not, and nobody need wait for its sign of life to lapse."""
    left = standing.find(state)
    if left is not None and left.machine:
        await store.delete(keys.machine(left.machine))


def parts_of(
    loaded: Loaded,
    bus: Bus,
    offers: Mapping[str, Offer],
    specs: Mapping[str, Spec],
    supervisor: Supervisor,
) -> Parts:
    """The parts for this folder, on `bus`."""
    clock, lease = SystemClock(), loaded.settings.fleet.lease
    me = Machine.here(str(loaded.folder), offers, clock.wall())
    crew = Crew(bus.store, clock, me, specs, supervisor, lease=lease, hears=hears_bus)
    return Parts(supervisor, crew, Scaler(bus, clock, crew.board, crew.name, lease=lease))
