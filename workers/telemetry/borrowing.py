"""Spans of whoever publishes and traces by himself."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from typing_extensions import override

from contracts.envelope import Envelope
from workers.telemetry.tracing import INSTRUMENTATION, NoTracing


class Borrowed(NoTracing):
    """Continues the span of a caller who traces by himself, with a provider of his own: to be found
    in `opentelemetry.trace`, which is not imported for those who have not done so."""

    def __init__(self, system: str) -> None:
        self._system = system

    @override
    def publish(
        self, tasks: Sequence[Envelope], *, call: str = ""
    ) -> AbstractContextManager[Sequence[Envelope]]:
        """In a span of the caller's provider, where there is one."""
        api = sys.modules.get("opentelemetry.trace")
        if api is None:
            return nullcontext(tasks)
        from workers.telemetry.spans import Spans

        return Spans(api.get_tracer(INSTRUMENTATION), self._system).publish(tasks, call=call)
