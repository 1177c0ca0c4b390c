"""The servers that run embedded where none is configured: the broker and the database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from contracts.errors import MusterError
from deploy import embedded as servers
from deploy import postgres, postgres_server
from deploy.brokers import BROKERS
from deploy.embedded import Embedded
from deploy.program import Program
from workers import own_broker
from workers.cli import output
from workers.history.address import database_is_embedded, kept
from workers.settings import Loaded

T = TypeVar("T")

_LOOK_EVERY = 1.0
"""Seconds between two looks at an embedded server, which is started again where it died."""


@dataclass(frozen=True, slots=True)
class Service:
    """One embedded server of a folder, and how it is found, started and ended there. `locate`
    raises `ServerMissing` where this machine does not have it."""

    name: str
    locate: Callable[[], object]
    find: Callable[[Path], Embedded | postgres.Embedded | None]
    start: Callable[[Path], Embedded | postgres.Embedded]
    stop: Callable[[Path], bool]


def every(loaded: Loaded) -> list[Service]:
    """Those there are, whatever the settings say now."""
    return [*(_broker(loaded, program) for program in BROKERS.values()), _database(loaded)]


def embedded(loaded: Loaded) -> list[Service]:
    """Those that the settings leave to us."""
    program = own_broker.asked(loaded)
    broker = [_broker(loaded, program)] if program else []
    return [*broker, _database(loaded)] if database_is_embedded(loaded) else broker


def _broker(loaded: Loaded, program: Program) -> Service:
    start = partial(servers.start, program, port=loaded.settings.bus.port)
    find, stop = partial(servers.find, program), partial(servers.stop, program)
    return Service("bus", program.locate, find, start, stop)


def _database(loaded: Loaded) -> Service:
    name = "history" if kept(loaded) else "database"
    return Service(name, postgres_server.locate, postgres.find, postgres.start, postgres.stop)


@asynccontextmanager
async def running(loaded: Loaded) -> AsyncIterator[Sequence[str]]:
    """Have them run; the names of those that did not before, which end with the block. One that
    this machine does not have is found out before any is started."""
    services = embedded(loaded)
    found = await asyncio.gather(*(asyncio.to_thread(s.find, loaded.state) for s in services))
    ours = [service for service, known in zip(services, found, strict=True) if known is None]
    for service in ours:
        await asyncio.to_thread(service.locate)
    try:
        await _start(services, loaded.state)
        yield [service.name for service in ours]
    finally:
        ends = (asyncio.to_thread(service.stop, loaded.state) for service in ours)
        await asyncio.gather(*ends)


async def _start(services: Sequence[Service], state: Path) -> None:
    """Start all at once; what fails is raised when each has started or failed."""
    begun = [asyncio.to_thread(service.start, state) for service in services]
    for result in await _whole(asyncio.gather(*begun, return_exceptions=True)):
        if isinstance(result, BaseException):
            raise result


async def _whole(work: Awaitable[T]) -> T:
    """What `work` answers. Who is cancelled meanwhile waits for its end: a thread that starts a
    server cannot be stopped, and who ends that server must come after it."""
    begun = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(begun)
    except asyncio.CancelledError:
        await asyncio.gather(begun, return_exceptions=True)
        raise


def _noted(name: str, pid: int) -> None:
    output.note(f"the {name} had ended; started again as process {pid}")


async def look_after(loaded: Loaded, again: Callable[[str, int], None] = _noted) -> None:
    """Start each again where it died; clients find it at the same address. `again` is called with
    its name and its new process id. Ends when cancelled."""
    await asyncio.gather(*(_look_after(each, loaded.state, again) for each in embedded(loaded)))


async def _look_after(service: Service, state: Path, again: Callable[[str, int], None]) -> None:
    while True:
        await asyncio.sleep(_LOOK_EVERY)
        try:
            if await asyncio.to_thread(service.find, state) is None:
                server = await _whole(asyncio.to_thread(service.start, state))
                again(service.name, server.pid)
        except MusterError as error:
            output.note(f"the {service.name} cannot be started again: {error}")
