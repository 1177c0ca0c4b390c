"""What `muster up` does once its plan stands: bus, bindings, supervisor, record, end."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psutil

from contracts.clock import SystemClock
from contracts.errors import MusterError
from deploy import nats as embedded
from workers.cli import output
from workers.cli.masking import masked
from workers.fleet import standing
from workers.fleet.errors import NotReady
from workers.fleet.seat import Spec
from workers.fleet.standing import Standing
from workers.fleet.supervisor import Supervisor
from workers.settings import Loaded
from workers.telemetry import configure_logs
from workers.wiring import bus_url, open_bus

KILL_AFTER = 5.0
"""Seconds beyond the drain that a worker is given before it is killed."""

_LOOK_AFTER_BUS = 1.0
"""Seconds between two looks at the embedded server, which is started again where it died."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run: processes to keep alive; per role how many, and the patterns it listens to."""

    loaded: Loaded
    specs: Sequence[Spec]
    counts: Mapping[str, int]
    listens: Mapping[str, Sequence[str]]
    json: bool


async def keep_up(plan: Plan) -> None:
    """Run the plan until SIGINT or SIGTERM, then let the workers drain and end what was started."""
    began = time.monotonic()
    settings = plan.loaded.settings
    configure_logs(style=settings.log.format, level=settings.log.level)
    async with _bus(plan.loaded) as owns_bus:
        record = Record(plan.loaded, owns_bus=owns_bus)
        supervisor = Supervisor(
            plan.specs,
            SystemClock(),
            grace=settings.fleet.drain + KILL_AFTER,
            changed=lambda: record.write(supervisor),
        )
        try:
            await _bind(plan)
            await _keep(plan, supervisor, record, began)
        finally:
            standing.forget(plan.loaded.state)


@asynccontextmanager
async def _bus(loaded: Loaded) -> AsyncIterator[bool]:
    """The embedded server where no bus is configured; whether it is ours to end."""
    settings = loaded.settings.bus
    ours = settings.url is None and embedded.find(loaded.state) is None
    if settings.url is None:
        await asyncio.to_thread(embedded.start, loaded.state, port=settings.port)
    try:
        yield ours
    finally:
        if ours:
            await asyncio.to_thread(embedded.stop, loaded.state)


async def _bind(plan: Plan) -> None:
    """Bind every role that runs here: what is published from now on waits for its workers. A bus
    that cannot be used is found out before anything is started on it."""
    bus = await open_bus(plan.loaded, source="/muster/up")
    try:
        await asyncio.gather(*(bus.join(role, listens) for role, listens in plan.listens.items()))
    finally:
        await bus.close()


async def _keep(plan: Plan, supervisor: Supervisor, record: "Record", began: float) -> None:
    def stop() -> None:
        output.note("ending: workers finish what they have begun (once more: at once)")
        supervisor.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    others = [asyncio.create_task(_tell_ready(plan, supervisor, record, began))]
    if plan.loaded.settings.bus.url is None:
        others.append(asyncio.create_task(_look_after_bus(plan.loaded)))
    try:
        await supervisor.run()
    finally:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def _tell_ready(plan: Plan, supervisor: Supervisor, record: "Record", began: float) -> None:
    crew = ", ".join(f"{count} {role}" for role, count in plan.counts.items())
    if not plan.json:
        output.say(f"bus    {record.bus}\ncrew   {crew or 'nobody'}")
    while True:
        try:
            await supervisor.ready()
            break
        except NotReady as error:
            output.note(f"{error.message}: {error.details}")
    record.ready = round(time.monotonic() - began, 2)
    record.write(supervisor)
    if plan.json:
        news = {"ready": record.ready, "bus": record.bus, "workers": dict(plan.counts)}
        output.as_json_line(news)
    else:
        output.say(f"ready  after {record.ready:g} s; Ctrl-C ends it")


async def _look_after_bus(loaded: Loaded) -> None:
    """Start the embedded server again where it died; clients find it on the same port."""
    while True:
        await asyncio.sleep(_LOOK_AFTER_BUS)
        try:
            if await asyncio.to_thread(embedded.find, loaded.state) is None:
                server = await asyncio.to_thread(embedded.start, loaded.state)
                output.note(f"the bus had ended; started again as process {server.pid}")
        except MusterError as error:
            output.note(f"the bus cannot be started again: {error}")


class Record:
    """Keeps `.muster/up.json` true. `ready`: seconds until every worker was."""

    def __init__(self, loaded: Loaded, *, owns_bus: bool) -> None:
        self.bus = masked(bus_url(loaded))
        self.ready: float | None = None
        self._state = loaded.state
        self._standing = Standing(
            pid=os.getpid(),
            created=psutil.Process().create_time(),
            bus=self.bus,
            owns_bus=owns_bus,
        )

    def write(self, supervisor: Supervisor) -> None:
        """Write how things stand now."""
        now = self._standing.with_processes(supervisor.processes())
        standing.write(self._state, now.model_copy(update={"ready": self.ready}))
