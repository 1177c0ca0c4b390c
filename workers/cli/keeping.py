"""What `muster up` does once its plan stands: servers, bindings, supervisor, record, end."""

import asyncio
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

from contracts.clock import SystemClock
from workers.cli import output, services
from workers.cli.masking import masked
from workers.fleet import standing
from workers.fleet.errors import NotReady
from workers.fleet.seat import Spec
from workers.fleet.standing import Standing
from workers.fleet.supervisor import Supervisor
from workers.history.address import history_url, kept
from workers.settings import Loaded
from workers.telemetry import configure_logs
from workers.wiring import bus_url, open_bus

KILL_AFTER = 5.0
"""Seconds beyond the drain that a worker is given before it is killed."""


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
    async with services.running(plan.loaded) as owns:
        record = Record(plan.loaded, owns=owns)
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
    others = [
        asyncio.create_task(_tell_ready(plan, supervisor, record, began)),
        asyncio.create_task(services.look_after(plan.loaded)),
    ]
    try:
        await supervisor.run()
    finally:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def _tell_ready(plan: Plan, supervisor: Supervisor, record: "Record", began: float) -> None:
    crew = ", ".join(f"{count} {role}" for role, count in plan.counts.items())
    if not plan.json:
        output.say(f"bus      {record.bus}\nhistory  {record.history}\ncrew     {crew or 'nobody'}")
    while True:
        try:
            await supervisor.ready()
            break
        except NotReady as error:
            output.note(f"{error.message}: {error.details}")
    record.ready = round(time.monotonic() - began, 2)
    record.write(supervisor)
    if plan.json:
        where = {"bus": record.bus, "history": record.history}
        output.as_json_line({"ready": record.ready, **where, "workers": dict(plan.counts)})
    else:
        output.say(f"ready    after {record.ready:g} s; Ctrl-C ends it")


class Record:
    """Keeps `.muster/up.json` true. `ready`: seconds until every worker was."""

    def __init__(self, loaded: Loaded, *, owns: Sequence[str]) -> None:
        self.bus = masked(bus_url(loaded))
        self.history = masked(history_url(loaded)) if kept(loaded) else "none"
        self.ready: float | None = None
        self._state = loaded.state
        self._standing = Standing(
            pid=os.getpid(),
            created=psutil.Process().create_time(),
            bus=self.bus,
            history=self.history,
            owns=tuple(owns),
        )

    def write(self, supervisor: Supervisor) -> None:
        """Write how things stand now."""
        now = self._standing.with_processes(supervisor.processes())
        standing.write(self._state, now.model_copy(update={"ready": self.ready}))
