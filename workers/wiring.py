"""The only place that picks implementations from settings and puts the parts together."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from bus.backend import Backend, Delivery
from bus.bus import Bus
from bus.errors import Unreachable
from bus.keyvalue.protocol import KeyValue
from contracts.clock import Clock, SystemClock
from contracts.topics import near
from deploy import nats as embedded
from workers.engine.host import Host
from workers.engine.identity import Identity
from workers.engine.keeper import Extender
from workers.fleet.client import FleetClient
from workers.fleet.drain import serve
from workers.fleet.presence import Alive, Presence
from workers.sdk.discovery import discover
from workers.sdk.role import Role
from workers.settings import Loaded, SettingsError, load

SCHEMES = ("nats", "tls")


def bus_url(loaded: Loaded) -> str:
    """The bus of this fleet: the configured one, else the embedded one if it runs."""
    url = loaded.settings.bus.url
    if url is not None:
        return _checked(url, loaded)
    running = embedded.find(loaded.state)
    if running is None:
        raise Unreachable(
            "no bus is running here",
            details=f"no bus.url is configured, and no embedded server runs in {loaded.state}",
            actions=("start one: `muster up`", "or set MUSTER_BUS_URL"),
        )
    return running.url


async def open_parts(loaded: Loaded, clock: Clock, name: str) -> tuple[Backend, KeyValue]:
    """A backend and a store on this fleet's broker. Raises `Unreachable`, `AccessDenied`."""
    from bus.backends.nats.backend import NatsBackend
    from bus.backends.nats.connect import connect
    from bus.keyvalue.nats import NatsKeyValue

    fleet = loaded.settings.fleet
    link = await connect(
        bus_url(loaded), fleet=fleet.name, lease=fleet.lease, clock=clock, name=name
    )
    return NatsBackend(link), NatsKeyValue(link)


async def open_bus(loaded: Loaded, *, source: str = "/muster/client") -> Bus:
    """A bus on this fleet's broker; close it when done."""
    clock = SystemClock()
    backend, store = await open_parts(loaded, clock, source)
    return Bus(backend, store, clock=clock, source=source, rng=random.Random())


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


@asynccontextmanager
async def _connected(loaded: Loaded) -> AsyncIterator[Fleet]:
    async with Fleet(await open_bus(loaded), SystemClock()) as fleet:
        yield fleet


def all_roles(loaded: Loaded) -> dict[str, Role]:
    """The built-in roles and those of `MUSTER_ROLES`, with the settings' overrides applied."""
    built_in = Path(__file__).parent / "roles"
    found = discover([built_in, *loaded.role_folders])
    for name, settings in loaded.settings.roles.items():
        if name in found and settings.concurrency is not None:
            found[name] = replace(found[name], concurrency=settings.concurrency)
    return found


async def work(loaded: Loaded, roles: Sequence[Role]) -> None:
    """Work on `roles` in this process until SIGTERM or SIGINT, then drain."""
    clock, who = SystemClock(), Identity.of_this_process()
    bus = await open_bus(loaded, source=f"/muster/worker/{who.name}")

    async def extender() -> Extender:
        backend, store = await open_parts(loaded, SystemClock(), f"keeper/{who.name}")
        return _Extending(backend, store)

    fleet = loaded.settings.fleet
    host = Host(roles, bus, who, clock, lease=fleet.lease, drain=fleet.drain, extender=extender)
    try:
        await serve([host, *(_presence(host, role, bus, clock) for role in roles)])
    finally:
        await bus.close()


class _Extending:
    """The keeper's own connection: it renews, and that is all."""

    def __init__(self, backend: Backend, store: KeyValue) -> None:
        self._backend = backend
        self._store = store

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        return await self._backend.extend(deliveries)

    async def close(self) -> None:
        await self._store.close()
        await self._backend.close()


def _presence(host: Host, role: Role, bus: Bus, clock: Clock) -> Presence:
    since = clock.wall()

    def look() -> Alive:
        worker = host.worker(role.name)
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
            draining=host.stopping,
        )

    return Presence(bus.store, clock, look)


def _checked(url: str, loaded: Loaded) -> str:
    scheme = urlsplit(url).scheme
    if scheme in SCHEMES:
        return url
    close = near(scheme, SCHEMES, limit=1)
    raise SettingsError(
        f"no bus backend for {scheme or 'no scheme'!r} in bus.url",
        details=f"from {loaded.origins.get('bus.url', 'the defaults')}; "
        + (f"did you mean {close[0]}://?" if close else "this version speaks nats:// and tls://"),
        actions=("set bus.url to nats://HOST:PORT", "or leave it out for the embedded server"),
    )
