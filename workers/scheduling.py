"""The service that publishes what schedules say."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from contracts.topics import SCHEDULER
from knowledge.database.database import Database
from knowledge.schedules.store import Schedules
from workers.fleet.presence import Alive, Presence, at_once
from workers.fleet.scheduler import Scheduler
from workers.fleet.supervised import Ready
from workers.history.address import history_url, schema
from workers.service_process import Post, service_process
from workers.settings import Loaded

_CONNECTIONS = 2
"""Of a process that schedules: it claims with one, and looks what is next with another."""


async def open_schedules(loaded: Loaded) -> Schedules:
    """The schedules of this fleet; close them when done. Raises `SettingsError` where no history
    is kept, and the errors of `knowledge.database.errors`."""
    url = await asyncio.to_thread(history_url, loaded)
    return Schedules(await Database.open(url, schema=schema(loaded), connections=_CONNECTIONS))


async def schedule(loaded: Loaded, ready: Ready) -> None:
    """Publish what schedules say until SIGTERM or SIGINT; `ready` is called when the broker is
    reached and it can be seen, with the URL of its probes. Raises what `service_process` does. A
    history database that is away is waited for."""
    async with service_process(loaded, SCHEDULER) as post:
        bus, clock = post.bus, post.clock
        scheduler = Scheduler(bus, partial(open_schedules, loaded), clock)
        shown = Presence(
            bus.store,
            clock,
            _look(scheduler, post),
            ready=at_once,
            shown=partial(ready, post.url, post.who.name),
            heard=bus.contact.heard,
        )
        await post.serve(scheduler, (), shown)


def _look(scheduler: Scheduler, post: Post) -> Callable[[], Alive]:
    """What others see of it: tasks published, and ticks that were put off."""

    def look() -> Alive:
        return replace(
            post.alive(SCHEDULER),
            running=int(not scheduler.troubles()),
            succeeded=scheduler.fired,
            failed=scheduler.put_off,
            draining=scheduler.stopping,
        )

    return look
