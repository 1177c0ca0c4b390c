"""Lets tasks of one role begin when the limits that hold for them allow it.

First come the places of limited concurrencies, then the slots of limited rates: a task that waits
for a place uses up no slot. Who waits for less than `SOON` seconds, or for a place, waits here and
lends its place in this process to others; who has to wait longer is put off and uses no attempt.
"""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from bus.bus import Bus
from bus.limits import LATE, held, mark, written
from bus.scopes import Scope, Scopes
from contracts.clock import Clock
from contracts.envelope import Envelope
from contracts.limits import Limit
from contracts.outcomes import Outcome, Snooze
from workers.engine import steps
from workers.engine.holding import Holding
from workers.engine.intake import MovingMean
from workers.engine.run import Run
from workers.sdk.role import Role

SOON = 1.0
"""Seconds up to which a slot is waited for in the process."""

EARLY = 0.5
"""Seconds before its slot at which a task that was put off comes back: brokers hand out what is due
a little late, and often many at once (0.3 to 0.6 s on NATS). It waits the rest here and starts in
time."""

_LONGEST = 300.0
"""Seconds a task is put off at most for want of a place: it may be free sooner than expected."""

_FOR_EVER = 1e6


class Gate:
    """The limits of one role in one process. It is false when there are none."""

    def __init__(
        self,
        role: Role,
        bus: Bus,
        clock: Clock,
        tenants: Mapping[str, Limit],
        rng: random.Random | None = None,
    ) -> None:
        self._scopes = Scopes(role.name, role.limits, tenants)
        self._bus = bus
        self._clock = clock
        self._rng = rng or random.Random()
        self._mean = MovingMean()
        self._first: float | None = None

    def __bool__(self) -> bool:
        """Whether any task may have to wait."""
        return bool(self._scopes)

    async def passed(
        self, run: Run, task: Envelope, work: Callable[[Envelope], Awaitable[Outcome]]
    ) -> Outcome:
        """What `work` comes to, done when the limits allow it, or that the task is put off. Raises
        what the store raises, and then nothing has begun."""
        scopes = self._scopes.of(task)
        holding = Holding(self._bus.places, partial(self._take_again, run))
        try:
            refused = await self._admit(run, task, scopes, holding)
            if refused is not None:
                return refused
            run.task = task = replace(task, reserved=None)
            run.started, run.lend = self._clock.wall(), holding.lent
            began = self._clock.monotonic()
            self._first = began if self._first is None else self._first
            try:
                return steps.allowed(task, run.started) or await work(task)
            finally:
                self._mean.add(self._clock.monotonic() - began)
        finally:
            holding.give()

    async def _admit(
        self, run: Run, task: Envelope, scopes: Sequence[Scope], holding: Holding
    ) -> Outcome | None:
        """None when it may begin. A worker that stops cuts it off anywhere in here."""
        run.waiting = True
        try:
            refused = await self._take_places(run, task, scopes, holding)
            return refused or await self._take_slots(run, task, scopes)
        finally:
            run.waiting = False

    async def _take_places(
        self, run: Run, task: Envelope, scopes: Sequence[Scope], holding: Holding
    ) -> Outcome | None:
        for scope in scopes:
            if scope.places is not None:
                refused = await self._take_place(run, task, scope.name, scope.places)
                if refused is not None:
                    return refused
                holding.add(scope)
        return None

    async def _take_place(
        self, run: Run, task: Envelope, name: Sequence[str], limit: int
    ) -> Outcome | None:
        """None with a place in hand. A place in this process is had first: one of the fleet must
        not stay unused while it waits for that."""
        places, again = self._bus.places, False
        if not places.awaited(name) and await places.take(name, limit):
            return None
        while again or not places.crowded(name):
            now = self._clock.wall()
            left = _FOR_EVER if task.deadline is None else task.deadline - now
            await self._wait(run, places.chance(name, limit, left, first=again))
            refused = steps.allowed(task, self._clock.wall())
            if refused or await places.take(name, limit):
                return refused
            again = True
        return Snooze(self._until_free(places.awaited(name), limit), "its limit is reached")

    async def _take_again(self, run: Run, scope: Scope) -> None:
        """For a run that goes on: it comes before those that have not begun."""
        places, limit = self._bus.places, scope.places or 1
        while not await places.take(scope.name, limit):
            await self._wait(run, places.chance(scope.name, limit, _FOR_EVER, first=True))

    async def _take_slots(
        self, run: Run, task: Envelope, scopes: Sequence[Scope]
    ) -> Outcome | None:
        """None when it is time to start."""
        rated = [(mark(scope), scope) for scope in scopes if scope.bucket is not None]
        while rated:
            slots = held(task.reserved, scopes, self._clock.wall())
            start = await self._reserve(rated, slots)
            run.task = task = replace(task, reserved=written(slots))
            wait = start - self._clock.wall()
            if wait > SOON:
                return Snooze(wait - EARLY, "put off to the slot reserved for it")
            if wait > 0:
                await self._wait(run, self._clock.sleep(wait))
            if self._clock.wall() <= start + LATE:
                break
        return None

    async def _reserve(self, rated: Sequence[tuple[str, Scope]], slots: dict[str, float]) -> float:
        """Add the slots that are missing; the time to start. Where one lies far ahead the rest are
        left for then: they would be over, and lost to others."""
        for name, scope in rated:
            if name not in slots and scope.bucket is not None:
                slots[name] = await self._bus.rates.reserve(scope.name, scope.bucket)
                if slots[name] > self._clock.wall() + SOON:
                    break
        return max(slots.values())

    async def _wait(self, run: Run, until: Awaitable[None]) -> None:
        async with run.place.lent():
            await until

    def _until_free(self, ahead: int, limit: int) -> float:
        """Seconds in which about half of those who wait here will have had their turn: who comes
        back finds room to wait, and no place stays unused because all are put off. Before the
        first run has ended, a run takes at least as long as that one has taken."""
        run = self._mean.value
        if run is None:
            run = self._clock.monotonic() - self._first if self._first is not None else 0.0
        expected = min(_LONGEST, max(1.0, ahead * run / limit))
        return expected * self._rng.uniform(0.3, 0.7)
