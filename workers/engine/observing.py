"""What is counted, traced and labelled of the runs of one role. Every task pays for it."""

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from contextvars import Token
from dataclasses import replace

import structlog

from bus.backend import Delivery
from bus.settling import Finished, Plan
from contracts.clock import Clock
from contracts.envelope import Envelope
from contracts.outcomes import Outcome, Reject
from workers.engine import steps
from workers.engine.counts import Counts, became, tenant_of
from workers.engine.run import Run
from workers.telemetry.logs import LABELS, NO_IDS, Said
from workers.telemetry.tally import LOST, RETURNED
from workers.telemetry.tracing import FIRST_RUN, RunSpan, Tracing

_log = structlog.get_logger("muster.worker")


Entered = tuple[Token[Said | None], RunSpan | None, object]
"""What is to be left when the handler is done: its labels; its span, with the token of that."""


class Observer:
    """Follows runs from when their handlers are called until their tasks are settled, which
    `settle` does."""

    def __init__(
        self,
        role: str,
        counts: Counts,
        settle: Callable[[Finished], Awaitable[Plan | None]],
        clock: Clock,
        tracing: Tracing,
    ) -> None:
        self.counts = counts
        self.tracing = tracing
        self._makes_spans = tracing.makes_spans
        self._role = role
        self._settle_now = settle
        self._clock = clock

    def begin(self, run: Run, task: Envelope) -> Entered:
        """The handler is called next, in the context of this call."""
        message = run.delivery.message
        since = message.due or (None if task.copy else task.time)  # one that came back: unknown
        waited = None if since is None else run.started - since
        run.counted = True
        self.counts.begun((message.lane.name, task.tenant, waited))
        span = (run.span or self.open(run, task)) if self._makes_spans else None
        if span is None:
            return LABELS.set((task, self._role, NO_IDS)), None, None
        return LABELS.set((task, self._role, span.ids)), span, span.enter()

    def open(self, run: Run, task: Envelope) -> RunSpan | None:
        """Begin the span of a run; whatever comes of it, its task remembers the first."""
        run.span = span = self.tracing.run(task, self._role, run.started)
        if span is not None and FIRST_RUN not in task.extra:
            run.task = replace(task, extra={**task.extra, FIRST_RUN: span.header})
        return span

    def leave(self, entered: Entered) -> None:
        """The handler is done, however it ended. In the context of `begin`."""
        token, span, current = entered
        if span is not None:
            span.leave(current)
        LABELS.reset(token)

    def settle(self, run: Run, finished: Finished) -> Awaitable[Plan | None]:
        """See `Bus.settle`; then call `settled`."""
        return self._settle(run, finished) if self._makes_spans else self._settle_now(finished)

    async def _settle(self, run: Run, finished: Finished) -> Plan | None:
        if run.span is None and isinstance(finished.outcome, Reject) and run.task is not None:
            self.open(run, run.task)
        with run.span.settling() if run.span is not None else nullcontext():
            return await self._settle_now(finished)

    def settled(self, run: Run, finished: Finished, settled: Plan | None) -> None:
        """Count what a run came to."""
        if settled is None:
            self.lost(run, finished.outcome)
            return
        kind, reason = became(settled)
        lane, tenant = run.delivery.message.lane.name, tenant_of(run.task)
        ran = finished.ended - run.started if run.counted else None
        self.counts.ended((lane, tenant, kind, reason, ran, self._clock.wall() - finished.ended))
        if run.span is not None:
            self.end(run, kind, finished.outcome)

    def lost(self, run: Run, outcome: Outcome | None = None) -> None:
        """Its lease ended before its task was settled."""
        self._note(run, LOST)
        self.end(run, LOST, outcome)
        _log.warning(
            "lost the lease; the result is not accepted",
            role=self._role,
            task=run.delivery.message.id,
        )

    def lost_unstarted(self, delivery: Delivery) -> None:
        """The lease of what only waited here has ended."""
        task = steps.read(delivery.message)
        tenant = tenant_of(None if isinstance(task, Reject) else task)
        self.counts.ended((delivery.message.lane.name, tenant, LOST, "", None, None))

    def returned(self, run: Run, *, ours: bool) -> None:
        """It was given back unfinished, if it was ours to give."""
        if not ours:
            self.lost(run)
            return
        self._note(run, RETURNED)
        self.end(run, RETURNED)

    def end(self, run: Run, became: str, outcome: Outcome | None = None) -> None:
        """Nothing more happens to it; only the first of several words for that is heard."""
        span, run.span = run.span, None
        if span is not None:
            span.end(became, outcome)

    def _note(self, run: Run, became: str) -> None:
        lane = run.delivery.message.lane.name
        self.counts.ended((lane, tenant_of(run.task), became, "", None, None))
