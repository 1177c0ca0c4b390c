"""A load on a broker that goes away: publishers and members that try again and again, and what they
were told."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from bus.backend import RETRY, Backend, Delivery, Lag, Message
from bus.errors import Conflict, Unreachable
from contracts.clock import Clock
from tests.beside import beside
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import ORDER, bound, task

BACK = 5.0
"""Seconds from the return of a server until work goes on (promise 16)."""

OVER = 15.0
"""Seconds beyond two leases in which everything ends that was accepted, on a busy machine."""

NOTHING = Lag(waiting=0, delayed=0, leased=0)

Run = tuple[str, int]
"""Id and copy."""

_CALL = 20
"""Tasks that are published in one call: one of them is delayed."""

_EACH = 0.05
_DELAY = 0.5
_PAUSE = 0.05


def run(message: Message) -> Run:
    """What a message is a run of."""
    return message.id, message.copy


@dataclass(slots=True)
class Load:
    """What publishers and members of the group `g` were told by `clock`.

    `accepted`: ids whose publish has returned; `settled`: runs whose settle has, as ours; `handed`
    counts hand-overs. `repeated`: runs that were sent again, because it was not said whether they
    are out. `again`: those that were handed over after they were settled, but for these. `refused`
    counts calls that ended in an error.
    """

    clock: Clock
    accepted: set[str] = field(default_factory=set)
    handed: Counter[Run] = field(default_factory=Counter)
    settled: set[Run] = field(default_factory=set)
    repeated: set[Run] = field(default_factory=set)
    again: list[Run] = field(default_factory=list)
    refused: int = 0
    errors: list[Exception] = field(default_factory=list)
    _stopped: bool = False
    _publishers: int = 0

    async def publish(self, backend: Backend, name: str) -> None:
        """Tasks in calls of some, the same call again until it is accepted; returns when the load
        is over."""
        self._publishers += 1
        for number in count():
            if self._stopped:
                break
            batch = [task(f"{name}{number}-{k}") for k in range(_CALL)]
            batch[0] = task(batch[0].id, due=self.clock.wall() + _DELAY)
            await self._accepted(backend, batch)
            await self.clock.sleep(_EACH)
        self._publishers -= 1

    async def _accepted(self, backend: Backend, batch: list[Message]) -> None:
        while not await self._answered(backend.publish(batch)):
            self.repeated.update(map(run, batch))
            await self.clock.sleep(_PAUSE)
        self.accepted.update(message.id for message in batch)

    async def work(self, backend: Backend) -> None:
        """Pull and settle, for ever; one task in ten leaves another copy."""
        while True:
            if not await self._answered(self._turn(backend)):
                await self.clock.sleep(_PAUSE)

    async def _turn(self, backend: Backend) -> None:
        found = await backend.pull("g", ORDER, limit=50, wait=5.0)
        if not found:
            return
        came = [run(delivery.message) for delivery in found]
        self.handed.update(came)
        self.again += [each for each in came if each in self.settled - self.repeated]
        lost = found
        try:
            lost = await backend.settle(found, then=_then(found))
        finally:
            self.repeated.update(map(run, _then(lost)))
        self.settled.update(run(d.message) for d in found if d not in lost)

    async def goes_on(self, least: int = _CALL) -> None:
        """Return when so many more than now are accepted and settled."""
        before = set(self.accepted)
        await self._until(lambda: len(self._ended(self.accepted - before)) >= least)

    async def done(self, names: set[str]) -> None:
        """Return when all of these are settled."""
        await self._until(lambda: names <= self._ended(names))

    async def over(self, backend: Backend) -> None:
        """Publish no more; return when everything was handed over and nothing is left."""
        self._stopped = True
        await self._until(lambda: not self._publishers and self.owed() <= self.handed.keys())
        while any(lag != NOTHING for lag in (await backend.lag("g")).values()):
            await self.clock.sleep(_PAUSE)

    def owed(self) -> set[Run]:
        """Everything that has to run. What was settled by a call that ended in an error left its
        copy, or comes again and leaves it then."""
        copies = {(name, 1) for name in self.accepted if _leaves_one(name)}
        return {(name, 0) for name in self.accepted} | copies

    def _ended(self, names: set[str]) -> set[str]:
        return {name for name in names if (name, 0) in self.settled}

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            if self.errors:
                raise self.errors[0]
            await self.clock.sleep(0.02)

    async def _answered(self, call: Coroutine[Any, Any, None]) -> bool:
        try:
            await call
        except Unreachable:
            self.refused += 1
            return False
        return True

    async def noting(self, work: Coroutine[Any, Any, None]) -> None:
        """Let who waits know of an error that nothing here expects."""
        try:
            await work
        except Exception as error:
            self.errors.append(error)
            raise


def _leaves_one(name: str) -> bool:
    return name.endswith("5")


def _then(found: list[Delivery]) -> list[Message]:
    """The copies that these leave."""
    first = [d.message for d in found if not d.message.copy and _leaves_one(d.message.id)]
    return [replace(m, copy=1, lane=RETRY, group="g", due=0.0) for m in first]


async def forgotten(world: World, backend: Backend) -> None:
    """Unbind the group, which is refused while anything waits for it."""
    while True:
        with suppress(Conflict, Unreachable):
            return await backend.unbind("g")
        await world.clock.sleep(_PAUSE)


@asynccontextmanager
async def loaded(world: World) -> AsyncIterator[Load]:
    """Two publishers and two members, each on a connection of its own. When the block ends all that
    was accepted has to run, and nothing may be left of it."""
    load = Load(world.clock)
    one, other = await bound(world), await world.backend()
    works = [load.work(one), load.work(other)]
    works += [load.publish(await world.backend(), name) for name in "ab"]
    async with beside(*map(load.noting, works)):
        yield load
        await world.within(2 * world.lease + OVER, load.over(one))
    await world.within(2 * world.lease + OVER, forgotten(world, one))
