"""The order of steps from a delivery to its outcome."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from bus.backoff import Backoff
from bus.bus import Bus
from bus.claims import met, open_of
from bus.errors import BusError
from bus.settling import Finished, Policy
from bus.suspects import is_last
from contracts.clock import Clock
from contracts.envelope import Envelope
from contracts.events import Event, Kind
from contracts.limits import NO_LIMITS, Limit
from contracts.outcomes import Done, Outcome, Reason, Reject, Snooze
from workers.engine import steps
from workers.engine.calling import Caller
from workers.engine.events import event
from workers.engine.gate import Gate
from workers.engine.identity import Identity
from workers.engine.isolation import Isolation
from workers.engine.limit import TimeLimit, Timers
from workers.engine.nursery import NoProcess
from workers.engine.observing import Observer
from workers.engine.opening import Resources
from workers.engine.run import EngineRuntime, Run
from workers.sdk.role import Role

_Work = Callable[[EngineRuntime], Awaitable[Outcome]]

_AWAY = 1.0
"""Seconds before a task that could not begin, because the store was away, is tried again."""


class Executor:
    """Takes a run of one role through read → known → allowed → limits → validate → handler →
    outcome. `tenants`: what each tenant may over all roles. `stuck` is called with a run whose
    plain handler did not stop when it had to.

    Suspects, and every task of a role that asks for it, are validated and run in a child process;
    without `isolation` there are none, and all run here. What was stopped ends as cancelled
    instead of starting.

    It never raises for what a task or a handler does: everything ends in an outcome. Only
    cancellation passes through, which is how a lost lease or a stopping worker ends a run.
    """

    def __init__(
        self,
        role: Role,
        bus: Bus,
        who: Identity,
        clock: Clock,
        *,
        observer: Observer,
        isolation: Isolation | None = None,
        tenants: Mapping[str, Limit] = NO_LIMITS,
        resources: Resources | None = None,
        stuck: Callable[[Run], None],
    ) -> None:
        self._role = role
        self._bus = bus
        self._view = bus.stop_view
        self._who = who
        self._clock = clock
        self._observer = observer
        self._isolation = isolation
        self._caller = Caller(role, partial((resources or Resources()).of, role))
        self._stuck = stuck
        self._policy = policy_of(role)
        gate = Gate(role, bus, clock, tenants)
        self._gate = gate or None
        self._timers = Timers()

    async def execute(self, run: Run) -> Finished:
        """Run the task to its outcome."""
        run.started = self._clock.wall()
        found = steps.read(run.delivery.message)
        if isinstance(found, Reject):
            return self._finished(run, found)
        run.task = task = found
        try:
            came_back = task.copy or run.delivery.earlier
            outcome = known = await self._known(run, task) if came_back else None
            if outcome is None:
                fresh = self._view.fresh
                outcome = self._judged(task) if fresh else await self._stopped(task)
            outcome = outcome or steps.allowed(task, run.started) or await self._enter(run, task)
        except BusError as error:
            return self._finished(run, Snooze(_AWAY, f"it could not begin: {error}"))
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - such as what a payload's own checks raise
            return self._finished(run, steps.from_error(error, self._role))
        return self._finished(run, outcome, known=known is not None)

    async def _known(self, run: Run, task: Envelope) -> Outcome | None:
        result = await self._bus.known(run.delivery, task)
        return None if result is None else steps.from_known(result)

    async def _stopped(self, task: Envelope) -> Outcome | None:
        """Whether it is not to start. Returns once all stops of the last second are known."""
        await self._view.until_fresh()
        return self._judged(task)

    def _judged(self, task: Envelope) -> Outcome | None:
        """Whether it is not to start, as far as a view that is fresh tells."""
        view, role = self._view, self._role.name
        stop = view.stopped(task, role)
        if stop is None and view.is_paused(role):
            return Snooze(0.0, "its role is paused")
        return stop

    def _enter(self, run: Run, task: Envelope) -> Awaitable[Outcome]:
        """Begin, or wait for what the limits of the task allow."""
        if self._gate is not None:
            return self._gate.passed(run, task, partial(self._handle, run, waited=True))
        return self._handle(run, task)

    def _handle(self, run: Run, task: Envelope, *, waited: bool = False) -> Awaitable[Outcome]:
        """`waited`: something was awaited since it was judged whether the task is stopped."""
        if self._isolation is not None and (task.suspect or self._role.isolation):
            return self._apart(self._isolation, run, task)
        payload = steps.validate(self._role, task)
        if isinstance(payload, Reject):
            return _at_once(payload)

        async def call(runtime: EngineRuntime) -> Outcome:
            value = await self._caller.call(payload, task, runtime, lambda: self._stuck(run))
            return steps.from_value(self._role, value)

        return self._begin(run, task, call, waited=waited)

    async def _apart(self, isolation: Isolation, run: Run, task: Envelope) -> Outcome:
        """In a child process; its start does not count against the time of the handler."""
        span = self._observer.open(run, task)
        try:
            async with isolation.child(self._role) as child:
                header = span.header if span is not None else ""
                stop = await self._stopped(task) or await child.begin(task, header)
                return stop or await self._begin(run, task, child.run, waited=True)
        except NoProcess as error:
            return Snooze(_AWAY, f"it could not begin: {error}")

    async def _begin(self, run: Run, task: Envelope, work: _Work, *, waited: bool) -> Outcome:
        if self._policy.once is not None or is_last(task, self._policy):
            waited, instead = True, await self._claim(run, task)
            if instead is not None:
                return instead
        run.called = True
        if waited or not self._view.fresh:
            stop = await self._view.judge(task, self._role.name)
            if stop is not None:
                return stop
        self._bus.tell_start(run.delivery, lambda: self._started(run, task))
        runtime = EngineRuntime(
            run,
            task,
            self._role,
            self._bus,
            who=self._who,
            clock=self._clock,
            tracing=self._observer.tracing,
        )
        done = False
        entered = self._observer.begin(run, task)
        try:
            whole = self._whole(runtime, work) if runtime.streams else work(runtime)
            outcome = await self._limited(run, task, whole)
            done = isinstance(outcome, Done)
        finally:
            self._observer.leave(entered)
            if runtime.used:
                await runtime.close(done=done)
        return outcome

    def _started(self, run: Run, task: Envelope) -> Event:
        return event(task, self._role, self._who, kind=Kind.STARTED, at=run.started)

    async def _whole(self, runtime: EngineRuntime, work: _Work) -> Outcome:
        """What `work` comes to; a success has all its parts on the bus."""
        outcome = await work(runtime)
        if isinstance(outcome, Done):
            try:
                await runtime.flush()
            except BusError as error:
                if not self._role.once:
                    raise
                runtime.log.warning("parts of the result are lost", error=str(error))
        return outcome

    async def _claim(self, run: Run, task: Envelope) -> Outcome | None:
        """Note that it begins, which has to be known later. What it comes to instead, if it may be
        started once only and was."""
        if self._policy.once is None:
            await self._bus.crashes.begin(run.delivery, task, self._policy)
            return None
        who, now = self._who.name, self._clock.wall()
        group, ttl = self._role.name, self._policy.once
        claim = await self._bus.claims.take(group, task, worker=who, now=now, ttl=ttl)
        run.claim = claim if claim.mine else open_of(claim, task)
        return None if claim.mine else met(claim, task)

    async def _limited(self, run: Run, task: Envelope, work: Awaitable[Outcome]) -> Outcome:
        now = self._clock.wall() if task.deadline is not None else 0.0
        limit = steps.limit(task, self._role, now)
        timer = TimeLimit(limit, run.runner, self._timers)
        try:
            with timer:
                return await work
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            return steps.from_error(error, self._role)
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises
            if timer.expired and isinstance(error, TimeoutError):
                return steps.from_timeout(task, self._role, self._clock.wall())
            if run.span is not None:
                run.span.failed(error)
            return steps.from_error(error, self._role)

    def end_of(self, run: Run, finished: Finished | None) -> Finished | None:
        """How a run ends: as stopped if its task was meanwhile, else as it `finished`. None for one
        that was cut off and may run again."""
        if run.stop is not None:
            return self._finished(run, run.stop)
        if finished is None and run.called and self._role.once:
            return self._finished(run, Reject("its worker stopped while it ran", Reason.CRASH))
        return finished

    def hurry(self) -> None:
        """Wait for no plain handler any more: the process ends."""
        self._caller.threads.hurry()

    def close(self) -> None:
        """Let go of idle threads."""
        self._caller.threads.close()

    @property
    def busy(self) -> int:
        """Plain handlers that compute at this moment."""
        return self._caller.threads.busy

    def _finished(self, run: Run, outcome: Outcome, *, known: bool = False) -> Finished:
        if self._role.once and run.called:
            outcome = steps.once(outcome)
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
            began=run.called,
            claim=None if known else run.claim,
        )


async def _at_once(outcome: Outcome) -> Outcome:
    return outcome


def policy_of(role: Role) -> Policy:
    """What the bus has to know of a role to settle its tasks."""
    backoff = Backoff(role.backoff, role.backoff_cap, role.backoff_factor, role.backoff_jitter)
    return Policy(role.attempts, backoff, role.once_for + role.timeout if role.once else None)


def _is_cancelled() -> bool:
    """Whether this run is to end; a handler may also hit upon a task that was cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
