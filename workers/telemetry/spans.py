"""Spans of publish, run and settle, by the conventions of OpenTelemetry for messaging (1.38).

Needs the API of OpenTelemetry only: who keeps the spans is somebody else's choice.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import Token
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from opentelemetry import context
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
    use_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from contracts.envelope import Envelope
from contracts.outcomes import Outcome, Reject, Retry
from workers.telemetry.tracing import CARRIED, FIRST_RUN, PREFIX, TRACEPARENT, TRACESTATE, RunSpan

_NS = 1_000_000_000
_WORST = 500
"""Characters of a reason in the status of a span."""

_PROPAGATOR = TraceContextTextMapPropagator()


class Spans:
    """Makes spans with a tracer. `system`: the broker, as `messaging.system` names it."""

    makes_spans = True

    def __init__(self, tracer: Tracer, system: str, client: str = "") -> None:
        self._tracer = tracer
        self._common = {"messaging.system": system}
        if client:
            self._common["messaging.client.id"] = client

    @contextmanager
    def publish(self, tasks: Sequence[Envelope], *, call: str = "") -> Iterator[Sequence[Envelope]]:
        """See `Tracing.publish`. A publish of many is one span, which all of them continue."""
        if not tasks:
            yield tasks
            return
        name = f"call {call}" if call else f"publish {tasks[0].topic}"
        attributes = self._sent(tasks, "call" if call else "publish")
        with self._tracer.start_as_current_span(
            name, kind=SpanKind.PRODUCER, attributes=attributes
        ):
            carried: dict[str, str] = {}
            _PROPAGATOR.inject(carried)
            yield [replace(task, extra=_with(task.extra, carried)) for task in tasks]

    def run(self, task: Envelope, role: str, started: float) -> RunSpan:
        """See `Tracing.run`. Its parent is the publish, also of a task that comes back."""
        span = self._tracer.start_span(
            f"run {role}",
            context=remote(task.extra),
            kind=SpanKind.CONSUMER,
            attributes=self._taken(task, role),
            links=_links(task),
            start_time=int(started * _NS),
        )
        return _Run(span, self._tracer, self._settled(task, role))

    @contextmanager
    def below(self, traceparent: str) -> Iterator[None]:
        """See `Tracing.below`."""
        span = get_current_span(remote({TRACEPARENT: traceparent}))
        if span.get_span_context().is_valid:
            with use_span(span):
                yield
        else:
            yield

    @property
    def reaches(self) -> bool:
        """See `Tracing.reaches`; whoever made the tracer knows better."""
        return True

    def counts(self) -> Mapping[str, int] | None:
        """See `Tracing.counts`."""
        return None

    async def close(self) -> None:
        """Whoever made the tracer sends what it has."""

    def _sent(self, tasks: Sequence[Envelope], operation: str) -> dict[str, Any]:
        first = tasks[0]
        found: dict[str, Any] = {
            **self._common,
            "messaging.operation.type": "send",
            "messaging.operation.name": operation,
        }
        if len({task.topic for task in tasks}) == 1:
            found["messaging.destination.name"] = first.topic
        if len(tasks) > 1:
            found["messaging.batch.message_count"] = len(tasks)
            return found
        return found | {
            "messaging.message.id": first.id,
            "messaging.message.body.size": len(first.body),
            "muster.task.id": first.id,
            "muster.tenant": first.tenant,
        }

    def _taken(self, task: Envelope, role: str) -> dict[str, Any]:
        found = {
            **self._settled(task, role),
            "messaging.operation.type": "process",
            "messaging.operation.name": "run",
            "messaging.message.body.size": len(task.body),
            "muster.task.attempt": task.attempt + 1,
            "muster.task.fence": task.copy if task.fence is None else task.fence,
            "muster.task.priority": task.priority.value,
            "muster.tenant": task.tenant,
        }
        if task.correlation is not None:
            found["messaging.message.conversation_id"] = task.correlation
        if task.suspect:
            found["muster.task.suspect"] = True
        return found

    def _settled(self, task: Envelope, role: str) -> dict[str, Any]:
        return {
            **self._common,
            "messaging.operation.type": "settle",
            "messaging.operation.name": "settle",
            "messaging.destination.name": task.topic,
            "messaging.consumer.group.name": role,
            "messaging.message.id": task.id,
            "muster.task.id": task.id,
            "muster.role": role,
        }


class _Run:
    """See `RunSpan`."""

    def __init__(self, span: Span, tracer: Tracer, settled: Mapping[str, Any]) -> None:
        self._span = span
        self._tracer = tracer
        self._settled = settled
        self._told = False

    @property
    def ids(self) -> Mapping[str, str]:
        """See `RunSpan.ids`."""
        return ids_of(self._span)

    @property
    def header(self) -> str:
        """See `RunSpan.header`."""
        return _header(set_span_in_context(self._span))

    def enter(self) -> object:
        """See `RunSpan.enter`."""
        return context.attach(set_span_in_context(self._span))

    def leave(self, token: object) -> None:
        """See `RunSpan.leave`."""
        if isinstance(token, Token):
            context.detach(token)

    def failed(self, error: BaseException) -> None:
        """See `RunSpan.failed`."""
        self._told = True
        self._span.set_attribute("error.type", _name(error))
        self._span.record_exception(error)

    def settling(self) -> AbstractContextManager[object]:
        """See `RunSpan.settling`."""
        return self._tracer.start_as_current_span(
            f"settle {self._settled['muster.role']}",
            context=set_span_in_context(self._span),
            kind=SpanKind.CLIENT,
            attributes=self._settled,
        )

    def end(self, became: str, outcome: Outcome | None) -> None:
        """See `RunSpan.end`."""
        self._span.set_attribute("muster.outcome", became)
        if isinstance(outcome, Retry | Reject):
            self._blame(outcome)
        self._span.end()

    def _blame(self, outcome: Retry | Reject) -> None:
        """A run that failed; of one in a child process only the text of its error is known."""
        self._span.set_status(Status(StatusCode.ERROR, outcome.reason[:_WORST]))
        if self._told:
            return
        reason = outcome.last if isinstance(outcome, Retry) else outcome.kind
        self._span.set_attribute("error.type", str(reason))
        if outcome.error:
            told = {"exception.message": outcome.reason, "exception.stacktrace": outcome.error}
            self._span.add_event("exception", told)


def ids_of(span: Span) -> Mapping[str, str]:
    """The ids of a span and its trace, as W3C writes them."""
    found = span.get_span_context()
    return {"trace_id": f"{found.trace_id:032x}", "span_id": f"{found.span_id:016x}"}


def header_of_current() -> str:
    """The `traceparent` of the span that is current; empty without."""
    return _header(context.get_current())


def _header(found: Context) -> str:
    carried: dict[str, str] = {}
    _PROPAGATOR.inject(carried, found)
    return carried.get(TRACEPARENT, "")


def _name(error: BaseException) -> str:
    kind = type(error)
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )


def _with(extra: Mapping[str, str], carried: Mapping[str, str]) -> Mapping[str, str]:
    """The headers with this context in place of any other."""
    if not carried:
        return extra
    kept = {name: value for name, value in extra.items() if name not in CARRIED}
    return MappingProxyType({**kept, **carried})


def remote(headers: Mapping[str, str]) -> Context:
    """The context that the headers of a task tell; empty without."""
    names = (TRACEPARENT, TRACESTATE)
    told = {name: headers.get(name) or headers.get(PREFIX + name, "") for name in names}
    return _PROPAGATOR.extract({name: value for name, value in told.items() if value}, Context())


def _links(task: Envelope) -> list[Link]:
    """A task that comes back links to its first run."""
    first = task.extra.get(FIRST_RUN)
    if first is None:
        return []
    found = get_current_span(remote({TRACEPARENT: first})).get_span_context()
    return [Link(found)] if found.is_valid else []
