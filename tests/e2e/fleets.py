"""A client of a fleet of real processes, what it hears, and a role that leaves traces."""

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bus.keyvalue.protocol import Snapshot, Written
from contracts.clock import SystemClock
from contracts.events import Event
from tests.brokers import Broker, environment, tell
from workers.fleet.listening import listening
from workers.fleet.supervisor import Spec, Supervisor
from workers.settings import load
from workers.wiring import Fleet, open_bus

TRACER = '''\
"""A role that says on disk when it starts and ends."""

import asyncio
import os
from pathlib import Path

from pydantic import BaseModel

from workers import Context, role

TRACE = Path(__file__).with_name("trace.txt")


class Work(BaseModel):
    seconds: float


def trace(*words: object) -> None:
    with TRACE.open("a", encoding="utf-8") as file:
        file.write(" ".join(map(str, words)) + "\\n")


@role("tracer", listens="trace.#", concurrency=2, attempts=3)
async def tracer(work: Work, ctx: Context) -> int:
    trace("start", ctx.id, ctx.attempt, ctx.fence, os.getpid())
    await asyncio.sleep(work.seconds)
    trace("end", ctx.id, ctx.attempt, ctx.fence, os.getpid())
    return os.getpid()
'''


@dataclass(frozen=True, slots=True)
class Trace:
    """One line that the tracer wrote."""

    what: str
    task: str
    attempt: int
    fence: int
    pid: int


def traces(folder: Path) -> list[Trace]:
    """What the tracer in `folder` wrote so far."""
    file = folder / "trace.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    words = (line.split() for line in lines)
    return [Trace(w[0], w[1], int(w[2]), int(w[3]), int(w[4])) for w in words]


@dataclass
class Heard:
    """The events so far, and a way to wait for one."""

    events: list[Event] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, wanted: Callable[[Event], bool]) -> Event:
        """The first event that is wanted, as soon as it is heard."""
        while True:
            for event in self.events:
                if wanted(event):
                    return event
            self.news.clear()
            await self.news.wait()

    async def until_all(self, done: Callable[[], bool]) -> None:
        """Return when `done` holds, asked after each event."""
        while not done():
            self.news.clear()
            await self.news.wait()

    def starts(self, task: str) -> int:
        """How often a run of `task` began; one that ended at once is told by its end only."""
        return len({e.copy for e in self.events if e.task == task})

    def distinct(self) -> list[Event]:
        """Every event once, however often it was told."""
        return list({event.id: event for event in self.events}.values())


@asynccontextmanager
async def fleet_and_events(url: str, name: str, folder: Path) -> AsyncIterator[tuple[Fleet, Heard]]:
    """A client of the fleet, and what it hears."""
    bus = await open_bus(load(folder, flags={"bus.url": url, "fleet.name": name}))
    async with Fleet(bus, SystemClock()) as fleet, listening(bus, "test") as events:
        heard = Heard()
        task = asyncio.create_task(_hear(events, heard))
        try:
            yield fleet, heard
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def supervised(server: Broker, folder: Path, role: str) -> AsyncIterator[Fleet]:
    """A client, and one worker of this role that is started again whenever it dies."""
    name = f"supervised-{secrets.token_hex(4)}"
    env = {
        "MUSTER_BUS_URL": server.url,
        "MUSTER_FLEET_NAME": name,
        "MUSTER_FLEET_LEASE": "2",
        "MUSTER_FLEET_DRAIN": "1",
        "MUSTER_LOG_LEVEL": "warning",
        "MUSTER_ROLES": str(folder),
        "PYTHONPATH": ":".join(filter(None, sys.path)),
        **environment(server),
    }
    spec = Spec(role=role, env=env, log=folder / "worker.log")
    supervisor = Supervisor([spec], SystemClock(), grace=10.0)
    running = asyncio.create_task(supervisor.run())
    tell(server, folder)
    try:
        await supervisor.ready()
        async with fleet_and_events(server.url, name, folder) as (fleet, _):
            await bound(fleet, role)
            yield fleet
    finally:
        supervisor.stop()
        await running


async def bound(fleet: Fleet, *roles: str, count: int = 1) -> None:
    """Return when `count` workers of every role can be seen, which is after they are bound."""
    alive: set[str] = set()
    async for change in fleet.bus.store.watch("alive/"):
        if isinstance(change, Snapshot):
            alive |= {entry.key for entry in change.entries}
        elif isinstance(change, Written):
            alive.add(change.entry.key)
        if all(sum(key.split("/")[1] == role for key in alive) >= count for role in roles):
            return


async def _hear(events: AsyncIterator[Event], heard: Heard) -> None:
    async for event in events:
        heard.events.append(event)
        heard.news.set()
