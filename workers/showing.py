"""What others see of a worker process."""

from collections.abc import Callable
from dataclasses import dataclass
from time import process_time

import psutil

from bus.bus import Bus
from contracts.clock import Clock
from workers.engine.host import Host
from workers.engine.relief import Relief
from workers.fleet.meter import summed
from workers.fleet.presence import Alive, Presence
from workers.sdk.role import Role


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of the process itself, and whom to tell once it is."""

    health: str
    relief: Relief
    tell: Callable[[], None]


def shown_as(host: Host, role: Role, bus: Bus, clock: Clock, shown: Shown) -> Presence:
    """Shows what `host` does for one role."""
    since, process = clock.wall(), psutil.Process()

    def look() -> Alive:
        worker = host.worker(role.name)
        tallies = worker.counts.tallies.values()
        return Alive(
            role=role.name,
            worker=host.who.name,
            pid=host.who.pid,
            host=host.who.host,
            since=since,
            at=clock.wall(),
            concurrency=role.concurrency,
            running=worker.running,
            succeeded=worker.counts.succeeded,
            failed=worker.counts.failed,
            again=worker.counts.again,
            cancelled=worker.counts.cancelled,
            draining=host.stopping,
            health=shown.health,
            mean_run=worker.mean_run.value,
            places=worker.slots.size,
            pressure=shown.relief.state.cause,
            listens=role.listens,
            limits=tuple(limit.text for limit in role.limits),
            memory=process.memory_info().rss,
            cpu=process_time(),
            runs=summed(tally.run.counts for tally in tallies),
            waits=summed(tally.wait.counts for tally in tallies),
        )

    heard = bus.contact.heard
    return Presence(
        bus.store, clock, look, ready=host.ready, shown=shown.tell, heard=heard, over=host.over
    )
