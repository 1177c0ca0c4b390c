"""The order of steps from a delivery to its outcome."""

import asyncio

from bus.bus import Bus
from bus.settling import Finished, Policy
from bus.backoff import Backoff
from contracts.clock import Clock
from contracts.envelope import Envelope
from contracts.events import Kind
from contracts.outcomes import Outcome, Reject
from workers.engine import steps
from workers.engine.identity import Identity
from workers.engine.run import EngineRuntime, Run, event
from workers.engine.slots import Slots
from workers.sdk.context import Context
from workers.sdk.role import Role


class Executor:
    """Takes a run of one role through read → allowed → known → validate → handler → outcome.

    It never raises for what a task or a handler does: everything ends in an outcome. Only
    cancellation passes through, which is how a lost lease or a stopping worker ends a run.
    """

    def __init__(self, role: Role, bus: Bus, slots: Slots, who: Identity, clock: Clock) -> None:
        self._role = role
        self._bus = bus
        self._slots = slots
        self._who = who
        self._clock = clock
        self._policy = Policy(role.attempts, Backoff(base=role.backoff))

    async def execute(self, run: Run) -> Finished:
        """Run the task to its outcome."""
        run.started = self._clock.wall()
        found = steps.read(run.delivery.message)
        if isinstance(found, Reject):
            return self._finished(run, found)
        run.task = task = found
        refused = steps.allowed(task, run.started)
        if refused is not None:
            return self._finished(run, refused)
        known = await self._bus.known(run.delivery, task)
        outcome = steps.from_known(known) if known is not None else None
        if outcome is not None:
            return self._finished(run, outcome, known=True)
        return self._finished(run, await self._handle(run, task))

    async def _handle(self, run: Run, task: Envelope) -> Outcome:
        payload = steps.validate(self._role, task)
        if isinstance(payload, Reject):
            return payload
        self._bus.tell(event(task, self._role, self._who, Kind.STARTED, run.started))
        runtime = EngineRuntime(
            run, task, self._role, self._bus, self._slots, self._who, self._clock
        )
        try:
            return await self._call(task, payload, Context(task, runtime))
        finally:
            await runtime.close()

    async def _call(self, task: Envelope, payload: object, ctx: Context) -> Outcome:
        limit = steps.limit(task, self._role, self._clock.wall())
        timer = asyncio.timeout(limit)
        try:
            async with timer:
                value = await self._role.handler(payload, ctx)
        except (Exception, SystemExit) as error:
            if timer.expired() and isinstance(error, TimeoutError):
                return steps.from_timeout(task, self._role, self._clock.wall())
            return steps.from_error(error)
        return steps.from_value(self._role, value)

    def _finished(self, run: Run, outcome: Outcome, *, known: bool = False) -> Finished:
        return Finished(
            delivery=run.delivery,
            task=run.task,
            outcome=outcome,
            policy=self._policy,
            worker=self._who.name,
            pid=self._who.pid,
            started=run.started,
            ended=self._clock.wall(),
            known=known,
            notes=run.notes,
        )
