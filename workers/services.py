"""Service roles: processes of a fleet that run no handler."""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

from contracts.clock import SystemClock
from knowledge.database.database import Database
from knowledge.schedules.store import Schedules
from workers.engine.identity import Identity
from workers.fleet.drain import serve
from workers.fleet.scheduler import Scheduler
from workers.health.probed import Watched, exit_soon, probed
from workers.health.watch import Watch
from workers.history.address import history_url, kept, schema
from workers.history.serving import record
from workers.reporting import service_scraping
from workers.sdk.errors import RoleError
from workers.settings import Loaded
from workers.wiring import open_bus

Ready: TypeAlias = Callable[[str], None]
Service: TypeAlias = Callable[[Loaded, Ready], Coroutine[Any, Any, None]]

_CONNECTIONS = 2
"""Of a process that schedules: it claims with one, and looks what is next with another."""


async def open_schedules(loaded: Loaded) -> Schedules:
    """The schedules of this fleet; close them when done. Raises `SettingsError` where no history
    is kept, and the errors of `knowledge.database.errors`."""
    url = await asyncio.to_thread(history_url, loaded)
    return Schedules(await Database.open(url, schema=schema(loaded), connections=_CONNECTIONS))


async def schedule(loaded: Loaded, ready: Ready) -> None:
    """Publish what schedules say until SIGTERM or SIGINT; `ready` is called when the broker is
    reached, with the URL of its probes. Raises `Unreachable` when that was away for
    `fleet.give_up` seconds, `PortTaken` or `SettingsError`. A history database that is away is
    waited for."""
    clock, who = SystemClock(), Identity.of_this_process()

    async def gave_up() -> None:
        exit_soon()
        await bus.abandon()

    watch = Watch(clock, give_up=loaded.settings.fleet.give_up, gave_up=gave_up)
    scraping = service_scraping(loaded, who, clock)
    with probed(loaded.settings.health, watch, scraping.page) as url:
        bus = await open_bus(loaded, source=f"/muster/scheduler/{who.name}")
        scheduler = Scheduler(bus, lambda: open_schedules(loaded), clock)
        watch.over(scheduler, bus.contact)
        scraping.over(bus, ())
        ready(url)
        try:
            await serve([Watched(scheduler, watch), watch])
        finally:
            await bus.close()


SERVICES: Mapping[str, Service] = MappingProxyType({"recorder": record, "scheduler": schedule})
"""What `muster work NAME` runs instead of a role."""


def named(names: Sequence[str]) -> Service | None:
    """The service asked for, None if roles are. Raises `RoleError` for both at once."""
    found = [name for name in names if name in SERVICES]
    if found and len(names) > 1:
        raise RoleError(
            f"{found[0]} is a service and runs in a process of its own",
            details=f"asked for together with {', '.join(n for n in names if n != found[0])}",
            actions=(f"start it beside them: `muster work {found[0]}`",),
        )
    return SERVICES[found[0]] if found else None


def wanted(loaded: Loaded, roles: Collection[str]) -> list[str]:
    """The services that `muster up` keeps alive. Raises `RoleError` where a role has the name of
    one."""
    taken = sorted(SERVICES.keys() & set(roles))
    if taken:
        raise RoleError(
            f"no role can be called {taken[0]!r}",
            details="it is the name of a service",
            actions=("give the role another name",),
        )
    return list(SERVICES) if kept(loaded) else []
