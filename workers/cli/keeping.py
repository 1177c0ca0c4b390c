"""What `muster up` does once its plan stands: servers, bindings, supervisor, record, end."""

import asyncio
import os
import signal
import time
from collections.abc import Sequence

import psutil

from bus.bus import Bus
from contracts.clock import SystemClock
from workers.cli import output, services
from workers.cli.crewing import Parts, Plan, forget_killed, parts_of
from workers.cli.errors import three_lines
from workers.cli.masking import masked
from workers.fleet import standing
from workers.fleet.errors import NotReady
from workers.fleet.standing import Standing
from workers.fleet.supervisor import Supervisor
from workers.history.address import history_url, kept
from workers.settings import Loaded
from workers.telemetry.logs import configure_logs
from workers.wiring import bus_url, open_bus

KILL_AFTER = 5.0
"""Seconds beyond the drain that a worker is given before it is killed."""


async def keep_up(plan: Plan) -> None:
    """Run the plan until SIGINT or SIGTERM, then let the workers drain and end what was started."""
    began = time.monotonic()
    settings = plan.loaded.settings
    configure_logs(style=settings.log.format, level=settings.log.level)
    async with services.running(plan.loaded) as owns:
        record = Record(plan.loaded, owns=owns)
        supervisor = Supervisor((), SystemClock(), grace=settings.fleet.drain + KILL_AFTER)
        bus = await open_bus(plan.loaded, source="/muster/up")
        try:
            await _bind(bus, plan)
            await forget_killed(bus.store, plan.loaded.state)
            parts = parts_of(plan, bus, supervisor)
            record.of(parts.crew.name)
            await _keep(plan, parts, record, began)
        finally:
            await bus.close()
            standing.forget(plan.loaded.state)


async def _bind(bus: Bus, plan: Plan) -> None:
    """Bind every role that runs here: what is published from now on waits for its workers. A bus
    that cannot be used is found out before anything is started on it."""
    await asyncio.gather(*(bus.join(role, listens) for role, listens in plan.listens.items()))


async def _keep(plan: Plan, parts: Parts, record: "Record", began: float) -> None:
    def stop() -> None:
        output.note("ending: workers finish what they have begun (once more: at once)")
        parts.stop()

    def changed() -> None:
        record.write(parts.supervisor)
        parts.crew.changed()

    parts.supervisor.changed = changed
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    others = [
        asyncio.create_task(_tell_ready(plan, parts, record, began)),
        asyncio.create_task(services.look_after(plan.loaded)),
    ]
    try:
        await parts.run()
    finally:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def _tell_ready(plan: Plan, parts: Parts, record: "Record", began: float) -> None:
    if not plan.json:
        output.say(f"bus      {record.bus}\nhistory  {record.history}")
    while True:
        try:
            await parts.crew.ready()
            break
        except NotReady as error:
            output.note(f"{error.message}: {error.details}")
    record.became_ready(round(time.monotonic() - began, 2), overruled(plan, parts))
    record.write(parts.supervisor)
    counts = standing.counts(record.standing.workers)
    ready = record.standing.ready
    if plan.json:
        where = {"bus": record.bus, "history": record.history}
        output.as_json_line({"ready": ready, **where, "workers": counts})
    else:
        output.say(f"crew     {standing.named(counts)}")
        output.say(f"ready    after {ready:g} s; Ctrl-C ends it")
    for note in record.standing.notes:
        output.note(note)
    await tell_trouble(plan.loaded)


def overruled(plan: Plan, parts: Parts) -> tuple[str, ...]:
    """What `up ROLE=N` asked for and does not count, each in a sentence."""
    return tuple(
        f"{role}={plan.offers[role].own} does not count: {order.by} has scaled it"
        f" (`muster scale --reset {role}`)"
        for role, order in parts.crew.board.wishes().orders.items()
        if role in plan.offers and plan.offers[role].own is not None
    )


async def tell_trouble(loaded: Loaded) -> None:
    """Say why history is not kept, if it is not: tasks run without it."""
    from workers.cli.history_checks import trouble

    error = await trouble(loaded)
    if error is not None:
        output.note(f"tasks run, and nothing is recorded of them:\n{three_lines(error)}")


class Record:
    """Keeps `.muster/up.json` true."""

    def __init__(self, loaded: Loaded, *, owns: Sequence[str]) -> None:
        self.bus = masked(bus_url(loaded))
        self.history = masked(history_url(loaded)) if kept(loaded) else "none"
        self._state = loaded.state
        self.standing = Standing(
            pid=os.getpid(),
            created=psutil.Process().create_time(),
            bus=self.bus,
            history=self.history,
            owns=tuple(owns),
        )

    def of(self, machine: str) -> None:
        """It is that of this machine of the fleet."""
        self.standing = self.standing.model_copy(update={"machine": machine})

    def became_ready(self, seconds: float, notes: Sequence[str]) -> None:
        """Every worker was ready after so long; the notes belong to it."""
        update = {"ready": seconds, "notes": tuple(notes)}
        self.standing = self.standing.model_copy(update=update)

    def write(self, supervisor: Supervisor) -> None:
        """Write how things stand now."""
        self.standing = self.standing.with_processes(supervisor.processes())
        standing.write(self._state, self.standing)
