"""The servers that run embedded where none is configured: the bus and the history database."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from contracts.errors import MusterError
from deploy import nats, postgres
from workers.cli import output
from workers.settings import Loaded

_LOOK_EVERY = 1.0
"""Seconds between two looks at an embedded server, which is started again where it died."""


@dataclass(frozen=True, slots=True)
class Service:
    """One embedded server of a folder, and how it is found, started and ended there."""

    name: str
    find: Callable[[Path], nats.Embedded | postgres.Embedded | None]
    start: Callable[[Path], nats.Embedded | postgres.Embedded]
    stop: Callable[[Path], bool]


def every(loaded: Loaded) -> list[Service]:
    """Those there are, whatever the settings say now."""
    start = partial(nats.start, port=loaded.settings.bus.port)
    return [
        Service("bus", nats.find, start, nats.stop),
        Service("history", postgres.find, postgres.start, postgres.stop),
    ]


def embedded(loaded: Loaded) -> list[Service]:
    """Those that the settings leave to us."""
    urls = {"bus": loaded.settings.bus.url, "history": loaded.settings.history.url}
    return [service for service in every(loaded) if urls[service.name] is None]


@asynccontextmanager
async def running(loaded: Loaded) -> AsyncIterator[Sequence[str]]:
    """Have them run; the names of those that did not before, which end with the block."""
    services = embedded(loaded)
    found = await asyncio.gather(*(asyncio.to_thread(s.find, loaded.state) for s in services))
    ours = [service for service, known in zip(services, found, strict=True) if known is None]
    try:
        await _start(services, loaded.state)
        yield [service.name for service in ours]
    finally:
        ends = (asyncio.to_thread(service.stop, loaded.state) for service in ours)
        await asyncio.gather(*ends)


async def _start(services: Sequence[Service], state: Path) -> None:
    """Start all at once; what fails is raised when each has started or failed."""
    begun = [asyncio.to_thread(service.start, state) for service in services]
    for result in await asyncio.gather(*begun, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


async def look_after(loaded: Loaded) -> None:
    """Start each again where it died; clients find it at the same address. Ends when cancelled."""
    await asyncio.gather(*(_look_after(service, loaded.state) for service in embedded(loaded)))


async def _look_after(service: Service, state: Path) -> None:
    while True:
        await asyncio.sleep(_LOOK_EVERY)
        try:
            if await asyncio.to_thread(service.find, state) is None:
                server = await asyncio.to_thread(service.start, state)
                output.note(f"the {service.name} had ended; started again as process {server.pid}")
        except MusterError as error:
            output.note(f"the {service.name} cannot be started again: {error}")
