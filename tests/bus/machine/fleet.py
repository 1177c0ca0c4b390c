"""The real parts, driven one step at a time: a loop, its clock, and processes on one broker."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from typing_extensions import override

from bus.backend import Delivery, Lag, Lane, Message, Turn, is_owed
from bus.backends.memory import MemoryBackend, MemoryBroker
from bus.bus import Bus
from bus.errors import Unreachable, Unroutable
from bus.keyvalue.memory import MemoryKeyValue
from bus.settling import Policy, from_message
from bus.suspects import Blame
from bus.turns import named
from contracts.clock import ManualClock
from tests.bus.machine.entries import ATTEMPTS, LEASE
from tests.bus.machine.model import End, Model

T = TypeVar("T")


TURNS = 5000
"""More than any chain of things that happen at one time."""


class StepClock(ManualClock):
    """Lets the loop run until nothing is left to do at this time, however long the chain."""

    @override
    async def _settle(self) -> None:
        loop: Any = asyncio.get_running_loop()
        for _ in range(TURNS):
            await asyncio.sleep(0)
            if not loop._ready:
                return
        raise AssertionError(f"not at rest after {TURNS} turns of the loop")


class Wire:
    """The connection of one process: tells the model what the broker has done, and may be cut."""

    def __init__(self, broker: MemoryBroker, model: Model) -> None:
        self.backend = MemoryBackend(broker)
        self.refuse = False
        self.lose_answer = False
        self.counts = True
        self.hears_of_stops: Callable[[Delivery], bool] = lambda _: True
        self.found: list[Delivery] = []
        self._clock = broker.clock
        self._model = model

    async def bind(self, group: str, patterns: Sequence[str]) -> None:
        """See `Backend`."""
        await self.backend.bind(group, patterns)
        self._model.bound[group] = frozenset(patterns)

    async def unbind(self, group: str, *, drop: bool = False) -> None:
        """See `Backend`."""
        await self.backend.unbind(group, drop=drop)
        self._model.dropped(group)

    async def publish(self, messages: Sequence[Message], *, follow_up: bool = False) -> None:
        """See `Backend`. Refused, or accepted without an answer, when the wire is cut. Nobody here
        listens to what is told of the tasks."""
        if self.refuse:
            self.refuse = False
            raise Unreachable("the network was cut before the call")
        try:
            await self.backend.publish(messages, follow_up=follow_up)
        except Unroutable:
            self._model.unroutable([m for m in messages if is_owed(m)])
            raise
        self._model.published(self._clock.wall(), [m for m in messages if is_owed(m)])
        if self.lose_answer:
            self.lose_answer = False
            raise Unreachable("the network was cut before the answer")

    async def pull(
        self, group: str, lanes: Sequence[Lane | Turn], *, limit: int, wait: float
    ) -> list[Delivery]:
        """See `Backend`."""
        self.found, start = [], self._clock.wall()
        found = await self.backend.pull(group, lanes, limit=limit, wait=wait)
        now, asked = self._clock.wall(), named(lanes)
        if len(found) > limit:
            self._model.complain(f"{len(found)} were handed out, {limit} were asked for")
        if not found and now < start + wait:
            self._model.complain(f"a pull of {wait} s came back with nothing after {now - start}")
        for late in self._model.overdue(group, asked, now, start):
            self._model.complain(f"a pull that began at {start} left {late}")
        self._model.handed(now, found, asked)
        end = End(None, now) if self.counts else None
        self._model.took(now + LEASE, found, end, self.hears_of_stops)
        self.found = found
        return found

    async def settle(
        self, deliveries: Sequence[Delivery], *, then: Sequence[Message] = ()
    ) -> list[Delivery]:
        """See `Backend`."""
        lost = await self.backend.settle(deliveries, then=then)
        self._model.settled(self._clock.wall(), deliveries, lost)
        return lost

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """See `Backend`."""
        lost = await self.backend.extend(deliveries)
        now = self._clock.wall()
        self._model.extended(now, now + LEASE, deliveries, set(lost))
        return lost

    async def lag(self, group: str) -> Mapping[Lane, Lag]:
        """See `Backend`."""
        return await self.backend.lag(group)

    async def close(self) -> None:
        """See `Backend`."""
        await self.backend.close()


class Process:
    """A process of the fleet: its bus, what it believes to hold, what it has settled."""

    def __init__(self, broker: MemoryBroker, model: Model, number: int) -> None:
        self.name = f"p{number}"
        self.wire = Wire(broker, model)
        store = MemoryKeyValue(broker.store)
        rng = random.Random(number)
        self.bus = Bus(self.wire, store, clock=broker.clock, source="/machine", rng=rng)
        self.wire.hears_of_stops = self._hears_of_stops
        self.held: list[Delivery] = []
        self.settled: list[Delivery] = []
        self.begun: set[Delivery] = set()
        self.pull: Pull | None = None
        self.dead = False

    def _hears_of_stops(self, delivery: Delivery) -> bool:
        view = self.bus.stop_view
        task = from_message(delivery.message)
        return view.fresh or view.stopped(task, delivery.group) is not None

    def blame(self, group: str) -> Blame:
        """What is said of a crash that this process finds."""
        return Blame(Policy(attempts=ATTEMPTS[group]), self.name, 1)


class Pull:
    """A pull under way."""

    def __init__(
        self,
        task: "asyncio.Task[list[Delivery]]",
        group: str,
        lanes: Sequence[Lane],
        *,
        begin: bool,
        since: float,
    ) -> None:
        self.task = task
        self.group = group
        self.lanes = lanes
        self.begin = begin
        self.since = since


class World:
    """A loop that runs when told to, a clock that moves when told to, a broker, and its model."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = StepClock()
        self.broker = MemoryBroker(self.clock, lease=LEASE)
        self.model = Model()
        self._made = 0

    @property
    def now(self) -> float:
        """The time."""
        return self.clock.wall()

    def process(self) -> Process:
        """Another process."""
        self._made += 1
        made = Process(self.broker, self.model, self._made)
        self.call(made.bus.stop_view.start)
        self.go()
        return made

    def crash(self, process: Process) -> None:
        """It is gone without a word."""
        process.dead = True
        self.call(lambda: self.broker.crash(process.wire.backend))

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Begin something, without running any of it."""
        return self.loop.create_task(work)

    def call(self, act: Callable[[], object]) -> None:
        """Call something that must be called where the loop runs."""

        async def run() -> None:
            act()

        self.loop.run_until_complete(run())

    def turns(self, count: int) -> None:
        """Let everything go on for so many turns of the loop."""

        async def run() -> None:
            for _ in range(count):
                await asyncio.sleep(0)

        self.loop.run_until_complete(run())

    def go(self, seconds: float = 0.0) -> None:
        """Let time pass, and all that can happen meanwhile happen."""
        self.loop.run_until_complete(self.clock.advance(seconds))

    def do(self, work: Coroutine[Any, Any, T], within: float = 40.0) -> T:
        """The result of `work`, while time passes; a complaint when that takes longer."""
        task = self.start(work)
        self.go()
        end = self.now + within
        while not task.done() and self.now < end:
            self.go(0.25)
        if not task.done():
            task.cancel()
            self.go()
            raise AssertionError(f"not within {within:g} s of the clock")
        return task.result()

    def close(self) -> None:
        """End everything that still runs."""
        if tasks := asyncio.all_tasks(self.loop):
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(tasks))
        self.loop.close()
