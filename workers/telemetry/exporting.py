"""Sends spans to a collector, OTLP over HTTP, beside the work: never in its way.

The batch processor of the SDK neither counts what it drops nor keeps the time limit of a flush
(opentelemetry-python issue 4568), so the queue is ours; spans, encoding and transport are not.
"""

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from typing_extensions import override

from workers.telemetry.spans import Spans
from workers.telemetry.tracing import INSTRUMENTATION

_log = structlog.get_logger("muster.telemetry")

MOST = 8192
"""Spans that wait to be sent; what ends beyond that is dropped and counted."""

BATCH = 512
"""Spans of one request."""

EVERY = 1.0
"""Seconds a span waits for others."""

PATIENCE = 5.0
"""Seconds a request may take, with its repetitions, unless a standard variable says otherwise."""

_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")

FLUSH = 3.0
"""Seconds in which what is left is sent when the process ends."""


@dataclass(slots=True)
class Sent:
    """What became of spans. `dropped`: the queue was full, or the process ended first; `refused`:
    the collector was away or did not take them."""

    sent: int = 0
    dropped: int = 0
    refused: int = 0


class Sender(SpanProcessor):
    """Queues spans that have ended; a thread of its own sends them."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.counts = Sent()
        self.failing = False
        self._exporter = exporter
        self._queue: deque[ReadableSpan] = deque()
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._over = threading.Event()
        self._sending = False
        self._why = _Why()
        logging.getLogger(OTLPSpanExporter.__module__).addFilter(self._why)
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    @override
    def on_end(self, span: ReadableSpan) -> None:
        """Queue it, or drop it where the queue is full. Never waits."""
        if not (span.context and span.context.trace_flags.sampled):
            return
        if len(self._queue) >= MOST or self._ending.is_set():
            self.counts.dropped += 1
            return
        self._queue.append(span)
        if len(self._queue) == BATCH:
            self._wake.set()

    @override
    def shutdown(self) -> None:
        """Send what waits, for `FLUSH` seconds at most; the rest is dropped and counted."""
        if self._ending.is_set():
            return
        self._ending.set()
        self._wake.set()
        self._thread.join(FLUSH)
        self._over.set()
        self._exporter.shutdown()
        self.counts.dropped += len(self._queue)
        self._queue.clear()

    @override
    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until all is sent or given up; False when that takes longer."""
        until = time.monotonic() + timeout_millis / 1000
        self._wake.set()
        while (self._queue or self._sending) and time.monotonic() < until:
            time.sleep(0.01)
        return not (self._queue or self._sending)

    def _run(self) -> None:
        while not self._ending.is_set():
            self._wake.wait(EVERY)
            self._wake.clear()
            self._sending = True
            self._send()
            self._sending = False

    def _send(self) -> None:
        while self._queue and not self._over.is_set():
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            self._why.said.clear()
            try:
                taken = self._exporter.export(batch) is SpanExportResult.SUCCESS
            except Exception:  # noqa: BLE001 - nothing about spans may end this thread
                taken = False
            self._count(len(batch), taken=taken)

    def _count(self, spans: int, *, taken: bool) -> None:
        if taken:
            self.counts.sent += spans
        else:
            self.counts.refused += spans
        if taken is self.failing:
            self.failing = not taken
            self._tell()

    def _tell(self) -> None:
        if self.failing:
            _log.warning("spans cannot be sent and are lost; tasks go on", why=self._why.first)
        else:
            _log.info("the collector takes spans again", lost=self.counts.refused)


class _Why(logging.Filter):
    """Keeps what the exporter says of a batch, instead of having it said of every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    @property
    def first(self) -> str:
        """The cause; what follows is that it was tried again, and given up."""
        return self.said[0] if self.said else ""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Never shown."""
        self.said.append(record.getMessage())
        return False


class Exported(Spans):
    """Spans that are sent to a collector."""

    def __init__(self, provider: TracerProvider, sender: Sender, system: str, client: str) -> None:
        super().__init__(provider.get_tracer(INSTRUMENTATION), system, client)
        self.provider = provider
        self._sender = sender

    @property
    @override
    def reaches(self) -> bool:
        """Whether the collector took what it was sent last."""
        return not self._sender.failing

    @override
    def counts(self) -> Mapping[str, int]:
        """See `Sent`."""
        return asdict(self._sender.counts)

    @override
    async def close(self) -> None:
        """Send what is left, for `FLUSH` seconds at most."""
        await asyncio.to_thread(self.provider.shutdown)


def exported(
    who: Mapping[str, str], system: str, *, endpoint: str | None, sample: float | None
) -> Exported:
    """Spans of this process, sent to `endpoint` (None: where the environment says). `who`: the
    attributes of this process; those that the environment tells come before them."""
    tracer_provider = TracerProvider(
        resource=Resource.create({"service.version": version("muster"), **who}).merge(
            OTELResourceDetector().detect()
        ),
        sampler=None if sample is None else ParentBased(TraceIdRatioBased(sample)),
        shutdown_on_exit=False,
    )
    timed = any(os.environ.get(name) for name in _TIMEOUTS)
    exporter = OTLPSpanExporter(endpoint=endpoint, timeout=None if timed else PATIENCE)
    sender = Sender(exporter)
    tracer_provider.add_span_processor(sender)
    return Exported(tracer_provider, sender, system, who.get("service.instance.id", ""))
