"""The other side of OTLP over HTTP: takes spans as a collector does, and may behave badly."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from typing_extensions import override

PATH = "/v1/traces"


@dataclass(frozen=True, slots=True)
class Seen:
    """One span as it came. Ids are hexadecimal; `parent` is empty for a root."""

    trace: str
    id: str
    parent: str
    name: str
    kind: str
    attributes: Mapping[str, object]
    resource: Mapping[str, object]
    links: tuple[str, ...]
    events: tuple[Mapping[str, object], ...]
    failed: bool
    start: float
    end: float


class Collector:
    """What came, and a way to wait for it. `answers`: the status of every answer."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        self.answers = 200
        self.requests = 0
        self.headers: list[Mapping[str, str]] = []
        self._news = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """What `telemetry.otlp` is set to."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def until(self, *names: str, count: int = 1, seconds: float = 20.0) -> list[Seen]:
        """All spans, once `count` of each of these names have come."""
        with self._news:
            came = self._news.wait_for(
                lambda: all(len(self.named(name)) >= count for name in names), seconds
            )
            assert came, f"only {sorted(span.name for span in self.spans)}"
            return list(self.spans)

    def until_asked(self, times: int = 1, seconds: float = 20.0) -> None:
        """Return when that many requests have come, whatever was answered."""
        with self._news:
            assert self._news.wait_for(lambda: self.requests >= times, seconds)

    def named(self, name: str) -> list[Seen]:
        """The spans of this name, by their start."""
        found = [span for span in self.spans if span.name == name]
        return sorted(found, key=lambda span: span.start)

    def close(self) -> None:
        """Listen no longer."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, body: bytes, headers: Mapping[str, str]) -> int:
        """Keep the spans of one request; the status to answer."""
        request = ExportTraceServiceRequest.FromString(body)
        with self._news:
            self.requests += 1
            self.headers.append(headers)
            if self.answers == 200:
                self.spans += _spans(request)
            self._news.notify_all()
            return self.answers

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                right = self.path == PATH
                headers = dict(self.headers.items())
                self.send_response(collector.take(body, headers) if right else 404)
                self.send_header("Content-Type", "application/x-protobuf")
                self.end_headers()
                self.wfile.write(ExportTraceServiceResponse().SerializeToString())

            @override
            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        return Handler


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens until the block ends."""
    collector = Collector()
    try:
        yield collector
    finally:
        collector.close()


def _spans(request: ExportTraceServiceRequest) -> list[Seen]:
    return [
        _seen(span, _plain(sent.resource.attributes))
        for sent in request.resource_spans
        for scope in sent.scope_spans
        for span in scope.spans
    ]


def _seen(span: Span, resource: Mapping[str, object]) -> Seen:
    return Seen(
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        attributes=_plain(span.attributes),
        resource=resource,
        links=tuple(link.span_id.hex() for link in span.links),
        events=tuple({"name": event.name, **_plain(event.attributes)} for event in span.events),
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        start=span.start_time_unix_nano / 1e9,
        end=span.end_time_unix_nano / 1e9,
    )


def _plain(found: Iterable[KeyValue]) -> dict[str, object]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "") for pair in found}
