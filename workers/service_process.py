"""A process of a fleet that runs a service instead of roles: probes, figures, a bus, an end."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import process_time
from typing import Protocol

import psutil

from bus.bus import Bus
from contracts.clock import Clock, SystemClock
from workers.engine.identity import Identity
from workers.fleet.drain import Service, serve
from workers.fleet.presence import Alive
from workers.health.probed import Watched, exit_soon, probed
from workers.health.watch import Watch, Works
from workers.reporting import service_scraping
from workers.settings import Loaded
from workers.telemetry.scraping import Scraping
from workers.wiring import open_bus


class Working(Works, Service, Protocol):
    """A service that can be asked how it is."""


@dataclass(frozen=True, slots=True)
class Post:
    """What the process of a service has. `url`: where it answers probes, empty if nowhere;
    `since`: when it began, UTC epoch seconds."""

    bus: Bus
    who: Identity
    clock: Clock
    url: str
    watch: Watch
    scraping: Scraping
    process: psutil.Process
    since: float

    def alive(self, role: str) -> Alive:
        """What others see of a process that does one thing."""
        return Alive(
            role=role,
            worker=self.who.name,
            pid=self.who.pid,
            host=self.who.host,
            since=self.since,
            at=self.clock.wall(),
            concurrency=1,
            health=self.url,
            memory=self.process.memory_info().rss,
            cpu=process_time(),
        )

    async def serve(self, work: Working, groups: Sequence[str], *beside: Service) -> None:
        """Run `work`, and what is to run beside it, until SIGTERM or SIGINT. `/metrics` tells what
        waits for `groups`."""
        self.watch.over(work, self.bus.contact)
        self.scraping.over(self.bus, groups)
        await serve([Watched(work, self.watch), self.watch, *beside])


@asynccontextmanager
async def service_process(loaded: Loaded, name: str) -> AsyncIterator[Post]:
    """This process as that of the service `name`. Raises `Unreachable` when the broker was away for
    `fleet.give_up` seconds, `PortTaken` or `SettingsError`."""
    clock, who = SystemClock(), Identity.of_this_process()

    async def gave_up() -> None:
        exit_soon()
        await bus.abandon()

    watch = Watch(clock, give_up=loaded.settings.fleet.give_up, gave_up=gave_up)
    scraping = service_scraping(loaded, who, clock)
    with probed(loaded.settings.health, watch, scraping.page) as url:
        bus = await open_bus(loaded, source=f"/muster/{name}/{who.name}")
        try:
            yield Post(bus, who, clock, url, watch, scraping, psutil.Process(), clock.wall())
        finally:
            await bus.close()
