"""The servers and the worker processes of a demo: started, kept alive, ended whatever happens."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from bus.backends.choice import BACKENDS, scheme_of
from contracts.clock import SystemClock
from contracts.errors import MusterError
from workers.cli import services
from workers.cli.errors import Interrupted
from workers.fleet.client import FleetClient
from workers.fleet.listening import listening
from workers.fleet.seat import Spec
from workers.fleet.supervisor import Supervisor
from workers.history.address import bus_database_url, kept
from workers.settings import Loaded
from workers.wiring import Fleet, bus_url, open_bus

T = TypeVar("T")

CREW: Mapping[str, int] = {"coordinator": 1, "analyst": 1, "writer": 1, "validator": 1}
"""Processes per role, beside the researchers."""

_BUILT_IN = Path(__file__).resolve().parents[2] / "roles"

_GIVE_UP = 3.0
"""Seconds that cancelling an unfinished job may take at the end."""


async def interruptible(work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns. Ctrl-C and SIGTERM cancel it, once, however often they come: it ends
    what it has started. Raises `Interrupted` then."""
    task = asyncio.ensure_future(work)
    asked: list[int] = []

    def stop(number: int) -> None:
        if not asked:
            task.cancel()
        asked.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        return await task
    except BaseException as error:
        if not asked:
            raise
        raise Interrupted(
            "interrupted",
            details=f"{signal.Signals(asked[0]).name} came; what was started has ended",
            actions=("start it again",),
        ) from error


@asynccontextmanager
async def servers(
    loaded: Loaded, say: Callable[[str], None], again: Callable[[str, int], None]
) -> AsyncIterator[None]:
    """The embedded servers, started again where they die. They end with the block unless they
    ran before. `say` is told where they are; `again` which was started again, and as what."""
    async with services.running(loaded) as ours:
        for service in services.embedded(loaded):
            server = service.find(loaded.state) if service.name in ours else None
            if server is not None:
                say(f"{service.name}: {server}")
        keeping = asyncio.create_task(services.look_after(loaded, again))
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)


@asynccontextmanager
async def crew(
    loaded: Loaded, researchers: int, *, log: Path | None = None
) -> AsyncIterator[Supervisor]:
    """One supervised process per worker, and one that records. All are ready when the block is
    entered; they are killed if it fails, and end in good order otherwise."""
    url = bus_url(loaded)
    database = bus_database_url(loaded) if BACKENDS[scheme_of(url)].needs_database else None
    environment = {
        **({"MUSTER_BUS_DATABASE": database} if database else {}),
        "MUSTER_BUS_URL": url,
        "MUSTER_FLEET_NAME": loaded.settings.fleet.name,
        "MUSTER_FLEET_LEASE": str(loaded.settings.fleet.lease),
        "MUSTER_LOG_LEVEL": "warning",
        "MUSTER_ROLES": str(_BUILT_IN),
    }
    specs = [Spec(role, environment, log=log) for role in members(loaded, researchers)]
    supervisor = Supervisor(specs, SystemClock())
    running = asyncio.create_task(supervisor.run())
    try:
        await supervisor.ready()
        yield supervisor
        supervisor.stop()
        await running
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def members(loaded: Loaded, researchers: int) -> list[str]:
    """The role of each process."""
    recorders = 1 if kept(loaded) else 0
    counts = {**CREW, "researcher": researchers, "recorder": recorders}
    return [role for role, count in counts.items() for _ in range(count)]


@asynccontextmanager
async def client(loaded: Loaded) -> AsyncIterator[tuple[Fleet, Any]]:
    """A client of the fleet, and every event told from here on."""
    bus = await open_bus(loaded)
    async with Fleet(bus, SystemClock()) as fleet, listening(bus, "demo") as events:
        yield fleet, events


@asynccontextmanager
async def cancelled_if_left(fleet: FleetClient, task: str) -> AsyncIterator[None]:
    """Cancel the task if the block fails: the next demo here should not begin with it."""
    try:
        yield
    except BaseException:
        with suppress(MusterError, TimeoutError):
            async with asyncio.timeout(_GIVE_UP):
                await fleet.cancel(task, reason="the demo was ended")
        raise
