"""A fleet in memory: the real bus, engine and leases over the in-memory broker."""

import asyncio
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from bus.backends.memory import MemoryBroker
from bus.backends.memory_faults import Faults
from bus.deadletters import DeadLetter
from contracts.clock import ManualClock
from contracts.errors import InvalidValue
from contracts.events import Event, decode_events
from contracts.topics import EVENTS
from workers.engine.opening import NOTHING
from workers.fleet.client import FleetClient, Task
from workers.sdk.resources import Resource
from workers.sdk.role import MARK, Role
from workers.testing.process import Process, connect

_EAR = "testing-events"
_STEP = 0.05
"""Seconds of the clock between two looks at what came."""

THINK = 1.0
"""Seconds of real time that the clock waits for plain handlers before it goes on."""

_LOOK = 0.001

_ROUNDS = 200
"""Looks for an end of what happens at one time."""


class MemoryFleet:
    """Runs `roles` (functions under `@role`), one worker process each, by a clock that only moves
    when told to. Use as `async with`; everything in it belongs to one event loop.

    `lease` and `drain` are in seconds. `faults` says what goes wrong next at the broker,
    `broker.outage()` and `broker.restore()` take it away, `client` is a `Fleet`. Time limits of
    handlers and the length of a drain go by real time; the clock waits for plain `def` handlers
    while they compute, for `THINK` seconds of real time at a stretch. `resources` says what stands
    in for resources of the roles; the others are opened.
    """

    def __init__(
        self,
        *roles: Any,
        lease: float = 10.0,
        drain: float = 5.0,
        resources: Mapping[Resource[Any], Any] = NOTHING,
    ) -> None:
        self.clock = ManualClock()
        self.broker = MemoryBroker(self.clock, lease=lease)
        self.events: list[Event] = []
        _, bus = connect(self.broker, "/muster/client")
        self.client = FleetClient(bus, self.clock)
        self._roles = [_role(given) for given in roles]
        self._drain = drain
        self._instead = resources
        self._processes: dict[str, Process] = {}
        self._made = 0

    @property
    def faults(self) -> Faults:
        """What goes wrong next at the broker, and how often."""
        return self.broker.faults

    async def publish(self, topic: str, payload: Any, **options: Any) -> Task:
        """As `Fleet.publish`, with the same options; the clock goes on while it waits."""
        published = self.client.publish(topic, payload, **options)
        task: Task = await self._within(published, 60.0)
        return task

    async def settle(self) -> None:
        """Return when nothing more can happen before more time passes; the clock moves by a
        twentieth of a second, so that events are told."""
        before = None
        for _ in range(_ROUNDS):
            await self._tick(0.0)
            before, now = self._counts(), before
            if before == now:
                break
        await self._tick(_STEP)
        await self._hear()

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass, and all happen that happens meanwhile."""
        await self._tick(seconds)
        await self.settle()

    async def result(self, task: Task, within: float = 600.0) -> Any:
        """The result of `task`, while the clock goes on: retries and leases take their time.
        Raises `TaskFailed`, and `TimeoutError` after `within` seconds of the clock."""
        return await self._within(task.result(), within)

    async def crash_worker(self, role: str, *, restart: bool = True) -> None:
        """The worker of `role` is gone without a word; another one starts, unless told not to."""
        process = self._processes.pop(self._known(role))
        await process.crash()
        if restart:
            await self._start(process.role)

    async def start_worker(self, role: str) -> None:
        """Start the worker of a role that has none."""
        if self._known(role) not in self._processes:
            await self._start(next(r for r in self._roles if r.name == role))

    async def dead_letters(self, role: str = "") -> list[DeadLetter]:
        """The dead letters of a role, or of all."""
        return [letter async for letter in self.client.bus.dead.all(role)]

    def runs(self, role: str) -> int:
        """How many runs of this role have begun or ended, as events tell."""
        known = self._known(role)
        return len({(e.task, e.copy) for e in self.events if e.role == known})

    async def __aenter__(self) -> Self:
        await self.client.bus.bind(_EAR, [EVENTS])
        for role in self._roles:
            await self._start(role)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.broker.restore()
        stops = [asyncio.create_task(process.stop()) for process in self._processes.values()]
        for stop in stops:
            await self._within_task(stop, 600.0)
        await self.client.close()

    async def _start(self, role: Role) -> None:
        self._made += 1
        process = Process(self.broker, role, self._made, self._drain, instead=self._instead)
        try:
            await self._within(process.ready(), 60.0)
        except BaseException:
            await process.crash()
            raise
        self._processes[role.name] = process

    async def _within(self, work: Any, seconds: float) -> Any:
        return await self._within_task(asyncio.ensure_future(work), seconds)

    async def _within_task(self, task: "asyncio.Future[Any]", seconds: float) -> Any:
        """What `task` comes to, while the clock goes on."""
        end, step = self.clock.monotonic() + seconds, _STEP
        await self._tick(0.0)
        while not task.done() and self.clock.monotonic() < end:
            await self._tick(step)
            step = min(1.0, step * 1.5)
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
            raise TimeoutError(f"not within {seconds:g} s of the clock")
        await self._hear()
        return task.result()

    async def _tick(self, seconds: float) -> None:
        """Let `seconds` of the clock pass, but not while handlers compute in their threads."""
        await self._think()
        await self.clock.advance(seconds)
        await self._think()

    async def _think(self) -> None:
        until = time.monotonic() + THINK
        while any(p.worker.busy for p in self._processes.values()) and time.monotonic() < until:
            await asyncio.sleep(_LOOK)
            await self.clock.advance(0.0)

    def _counts(self) -> list[tuple[int, ...]]:
        """What the workers do and have done."""
        found = ((p.worker.running, p.worker.counts) for p in self._processes.values())
        return [(running, c.succeeded, c.failed, c.again, c.lost) for running, c in found]

    async def _hear(self) -> None:
        """Take the events that were told."""
        bus, heard = self.client.bus, True
        while heard:
            pull = asyncio.ensure_future(bus.pull(_EAR, free=100, wait=0.0))
            await self.clock.advance(0.0)
            heard = bool(deliveries := await pull)
            for delivery in deliveries:
                self.events += decode_events(delivery.message.body)
                await bus.forget(delivery)

    def _known(self, role: str) -> str:
        names = [known.name for known in self._roles]
        if role in names:
            return role
        raise InvalidValue(
            f"this fleet has no role {role!r}",
            details="it runs " + ", ".join(names),
            actions=("give its function to MemoryFleet",),
        )


def _role(given: Callable[..., Any] | Role) -> Role:
    found = given if isinstance(given, Role) else getattr(given, MARK, None)
    if isinstance(found, Role):
        return found
    raise InvalidValue(
        f"{getattr(given, '__name__', given)!r} is not a role",
        details="a role is a function under the decorator @role",
        actions=("put @role(…) above it",),
    )
