"""Telemetry in a child process that runs one task: its lines and spans belong to the run."""

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from contracts.envelope import Envelope
from workers.telemetry.logs import LABELS, configure_logs
from workers.telemetry.providers import provided, provider_in_use
from workers.telemetry.settings import LogSettings, TelemetrySettings
from workers.telemetry.tracing import TRACEPARENT, Tracing, ids_in

FLUSH = 0.25
"""Seconds a child may take to send its spans, before it tells what its task came to."""


@dataclass(frozen=True, slots=True)
class PassedOn:
    """What child processes of a worker are told. They make no spans while the collector is away:
    a run must not wait for it."""

    logs: LogSettings
    telemetry: TelemetrySettings
    system: str
    who: Mapping[str, str]
    tracing: Tracing

    def __call__(self) -> Mapping[str, Any]:
        """As JSON values."""
        return {
            "logs": self.logs.model_dump(),
            "telemetry": self.telemetry.model_dump() if self.tracing.reaches else None,
            "system": self.system,
            "who": dict(self.who),
        }


def begin(told: Mapping[str, Any], task: Envelope, role: str, span: str) -> None:
    """Write lines as the worker does, before anything of the role is imported. `span`: the
    `traceparent` of the run; empty without."""
    if not told:
        return
    logs = LogSettings(**told["logs"])
    configure_logs(style=logs.format, level=logs.level)
    LABELS.set((task, role, ids_in(span)))


def enter(told: Mapping[str, Any], span: str) -> Callable[[], None]:
    """Let the handler's own spans hang below that of the run; what is returned sends them. Only
    where its role makes any, since it has imported what makes them."""
    if not (span and told.get("telemetry")) or "opentelemetry.trace" not in sys.modules:
        return _nothing
    from opentelemetry import context
    from opentelemetry.trace import get_tracer_provider

    from workers.telemetry.spans import remote

    if provider_in_use() is None:
        settings = TelemetrySettings(**told["telemetry"])
        provided(settings, told["system"], told["who"], everywhere=True)
    context.attach(remote({TRACEPARENT: span}))
    flush = getattr(get_tracer_provider(), "force_flush", _nothing)
    return lambda: _for_a_moment(flush)


def current() -> str:
    """The `traceparent` of the span the handler is in; empty without."""
    if "opentelemetry.trace" not in sys.modules:
        return ""
    from workers.telemetry.spans import header_of_current

    return header_of_current()


def _for_a_moment(flush: Callable[[], object]) -> None:
    thread = threading.Thread(target=flush, name="flush", daemon=True)
    thread.start()
    thread.join(FLUSH)


def _nothing() -> None:
    return
