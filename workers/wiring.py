"""The only place that picks implementations from settings and puts the parts together."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from bus.backend import Delivery
from bus.backends import choice
from bus.bus import Bus
from bus.errors import BusError, Unreachable
from bus.lockout import Lockouts
from bus.opening import Parts, Terms
from bus.places import Places
from contracts.clock import Clock, SystemClock
from contracts.topics import EVENTS, RECORDER
from workers import own_broker
from workers.auctions.source import needed
from workers.bus_address import checked, fallback_url, without_database
from workers.engine.host import Host
from workers.engine.identity import Identity
from workers.engine.keeper import Extender
from workers.engine.relief import Relief
from workers.fleet.blocking import SyncFleet
from workers.fleet.client import FleetClient
from workers.fleet.drain import serve
from workers.fleet.membership import Membership
from workers.fleet.supervised import Ready
from workers.health.probed import STUCK, Watched, exit_soon, probed
from workers.health.watch import Watch
from workers.history.address import bus_database_url, expected
from workers.limiting import quotas, tenants
from workers.overriding import overridden
from workers.reporting import Reporting, client_tracing
from workers.sdk.discovery import discover
from workers.sdk.role import Role
from workers.settings import Loaded, load
from workers.showing import Shown, shown_as
from workers.telemetry.telling import Telling
from workers.telemetry.threads import ContextThreads

_END = 10.0
"""Seconds a process whose handler does not stop has to hand back the rest."""


def bus_url(loaded: Loaded) -> str:
    """The bus of this fleet: the configured one, else the embedded one if it runs."""
    url = loaded.settings.bus.url
    if url is not None and own_broker.asked(loaded) is None:
        return checked(url, loaded)
    running = own_broker.running(loaded)
    if running is None:
        named = "no bus.url is configured" if url is None else f"bus.url is {url}"
        raise Unreachable(
            "no bus is running here",
            details=f"{named}, and no embedded server runs in {loaded.state}",
            actions=("start one: `muster up`", "or set MUSTER_BUS_URL"),
        )
    return running.url


async def open_parts(
    loaded: Loaded, clock: Clock, name: str, *, lockouts: Lockouts | None = None
) -> Parts:
    """Connect to this fleet's broker, or to both. `lockouts`: of a process that has several
    connections. Raises `Unreachable`, `AccessDenied`, `Unsafe`, `SettingsError`."""
    fleet, url, fallback = loaded.settings.fleet, bus_url(loaded), fallback_url(loaded)
    needed = fallback is not None or choice.BACKENDS[choice.scheme_of(url)].needs_database
    database = await asyncio.to_thread(bus_database_url, loaded) if needed else None
    if fallback is not None and database is None:
        raise without_database(loaded)
    terms = Terms(
        url=url,
        fallback=fallback,
        fleet=fleet.name,
        clock=clock,
        lease=fleet.lease,
        slices=fleet.slices,
        name=name,
        max_bytes=loaded.settings.bus.max_bytes,
        database=database,
        lockouts=lockouts or Lockouts(),
    )
    return await choice.open_parts(terms)


async def open_bus(
    loaded: Loaded, *, source: str = "/muster/client", lockouts: Lockouts | None = None
) -> Bus:
    """A bus on this fleet's broker; close it when done. `lockouts`: see `open_parts`."""
    clock = SystemClock()
    parts = await open_parts(loaded, clock, source, lockouts=lockouts)
    if expected(loaded):
        await _keep_events(parts)
    return bus_over(parts, loaded, clock, source=source)


def bus_over(parts: Parts, loaded: Loaded, clock: Clock, *, source: str) -> Bus:
    """The bus made of `parts`, which it closes."""
    return Bus(
        parts.backend,
        parts.store,
        clock=clock,
        source=source,
        lease=loaded.settings.fleet.lease,
        quotas=quotas(loaded.settings),
        release=parts.close,
        slices=loaded.settings.fleet.slices,
    )


async def _keep_events(parts: Parts) -> None:
    """What is told from now on waits for history, whether or not anything records it now."""
    try:
        await parts.backend.bind(RECORDER, [EVENTS])
    except BaseException:
        await parts.close()
        raise


class Fleet(FleetClient):
    """A connection to a fleet, found as the settings say."""

    @classmethod
    def connect(
        cls, url: str | None = None, *, folder: Path | None = None
    ) -> AbstractAsyncContextManager["Fleet"]:
        """Connect as `async with Fleet.connect() as fleet`.

        `url` overrides `MUSTER_BUS_URL` and `muster.toml` of `folder` (default: the working
        directory). Raises `SettingsError`, `Unreachable`, `AccessDenied`.
        """
        return _connected(load(folder, flags={"bus.url": url}))

    @classmethod
    def connect_sync(cls, url: str | None = None, *, folder: Path | None = None) -> SyncFleet:
        """Connect from code without an event loop, as `with Fleet.connect_sync() as fleet`, or once
        for the life of a process: it is closed at its end.

        The same methods, each blocking, from any thread; see `SyncFleet`. Raises as `connect`.
        """
        loaded = load(folder, flags={"bus.url": url})

        async def opened() -> Fleet:
            return cls(await open_bus(loaded), SystemClock())

        return SyncFleet(opened)


@asynccontextmanager
async def _connected(loaded: Loaded) -> AsyncIterator[Fleet]:
    tracing = client_tracing(loaded)
    async with Fleet(await open_bus(loaded), SystemClock(), tracing=tracing) as fleet:
        yield fleet


def all_roles(loaded: Loaded, *, wanted: Collection[str] = ()) -> dict[str, Role]:
    """The built-in roles and those of `MUSTER_ROLES`, with the settings' overrides applied; see
    `discover`."""
    built_in = Path(__file__).parent / "roles"
    found = discover([built_in, *loaded.role_folders], wanted=wanted)
    for name, settings in loaded.settings.roles.items():
        if name in found:
            found[name] = overridden(found[name], settings)
    return found


def _unheard(_health: str, _worker: str) -> None:
    return


async def work(loaded: Loaded, roles: Sequence[Role], *, ready: Ready = _unheard) -> None:
    """Work on `roles` in this process until SIGTERM or SIGINT, then drain. `ready` is called once
    every role is bound and can be seen. Raises `Unreachable` when the broker was away for
    `fleet.give_up` seconds, `PortTaken` or `SettingsError` when probes cannot be answered,
    `NoLedger` for an auctioned role: nothing here starts or finds a ledger yet."""
    for role in roles:
        if role.auction is not None:
            needed(None, role)
    clock, who = SystemClock(), Identity.of_this_process()

    async def gave_up() -> None:
        exit_soon()
        await bus.abandon()

    watch = Watch(clock, give_up=loaded.settings.fleet.give_up, gave_up=gave_up)
    reporting = Reporting.of_worker(loaded, who, clock)
    with probed(loaded.settings.health, watch, reporting.scraping.page) as url:
        lockouts = Lockouts()
        bus = await open_bus(loaded, source=f"/muster/worker/{who.name}", lockouts=lockouts)
        beside = partial(open_parts, loaded, SystemClock(), f"keeper/{who.name}", lockouts=lockouts)
        host = _host(loaded, roles, bus, who, reporting.telling, beside=beside)
        watch.over(host, bus.contact)
        reporting.scraping.over(bus, [role.name for role in roles], host.figures)
        asyncio.get_running_loop().set_default_executor(ContextThreads())
        _calm_collector()
        shown = _Countdown(len(roles), partial(ready, url, who.name))
        relief = Relief({role.name: host.worker(role.name).slots for role in roles}, clock)
        known = Shown(url, relief, shown)
        seen = [shown_as(host, role, bus, clock, known) for role in roles]
        members = [_membership(host, role, bus, clock) for role in roles]
        try:
            await serve([Watched(host, watch), watch, relief, *seen, *members])
        finally:
            await bus.close()
            await reporting.telling.tracing.close()


def _host(
    loaded: Loaded,
    roles: Sequence[Role],
    bus: Bus,
    who: Identity,
    telling: Telling,
    *,
    beside: Callable[[], Awaitable[Parts]],
) -> Host:
    async def extender() -> Extender:
        return _Extending(await beside(), bus.places)

    fleet = loaded.settings.fleet
    return Host(
        roles,
        bus,
        who,
        SystemClock(),
        lease=fleet.lease,
        drain=fleet.drain,
        extender=extender,
        tenants=tenants(loaded.settings),
        telling=telling,
        ending=partial(exit_soon, STUCK, _END),
    )


def _calm_collector() -> None:
    """Look for reference cycles seldom, and never among what was there at the start: with
    Python's defaults it took a quarter of a worker's time (measured with no-op tasks)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


class _Countdown:
    """Calls `last` at the call that makes `count` of them."""

    def __init__(self, count: int, last: Callable[[], None]) -> None:
        self._left = count
        self._last = last

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._last()


class _Extending:
    """The keeper's own connection: it renews, and that is all. With the leases of tasks goes what
    says that the holder of their places lives."""

    def __init__(self, parts: Parts, places: Places) -> None:
        self._parts = parts
        self._places = places

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        lost = await self._parts.backend.extend(deliveries)
        with suppress(BusError):  # tried again with the next renewal, four times a lease
            await self._places.renew(self._parts.store)
        return lost

    async def close(self) -> None:
        await self._parts.store.close()
        await self._parts.backend.close()
        await self._parts.close()


def _membership(host: Host, role: Role, bus: Bus, clock: Clock) -> Membership:
    return Membership(bus, clock, role.name, role.listens, ready=host.ready)
