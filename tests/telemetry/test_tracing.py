"""The context of a trace: read, handed on, and made where somebody wants it."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from contracts.envelope import Envelope
from tests.engine.fleets import ManualFleet, made
from workers import Context, Retry
from workers.settings import SettingsError
from workers.telemetry import opening
from workers.telemetry.borrowing import Borrowed
from workers.telemetry.opening import open_client_tracing, open_tracing
from workers.telemetry.settings import TelemetrySettings
from workers.telemetry.spans import Spans
from workers.telemetry.tracing import NoTracing, ids_in, trace_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"traceparent": PARENT}, TRACE),
        ({"ce-traceparent": PARENT}, TRACE),
        ({"traceparent": PARENT, "ce-traceparent": "rubbish"}, TRACE),
        ({"traceparent": f"cc-{TRACE}-{SPAN}-01-what-the-future-brings"}, TRACE),
        ({"traceparent": "00-xyz-01"}, ""),
        ({"traceparent": ""}, ""),
        ({}, ""),
    ],
)
def test_the_trace_of_a_task_is_read_from_its_headers(
    headers: Mapping[str, str], found: str
) -> None:
    assert trace_of(headers) == found


def test_the_ids_in_a_header() -> None:
    assert ids_in(PARENT) == {"trace_id": TRACE, "span_id": SPAN}
    assert ids_in("none") == {}


async def test_workers_that_make_no_spans_hand_the_context_on() -> None:
    """To the next attempt, to what is called and to what is published; nothing else of it."""
    seen: list[Mapping[str, str]] = []

    async def parent(_: Any, ctx: Context) -> int | Retry:
        seen.append(dict(ctx._task.extra))
        if ctx.attempt == 1:
            return Retry(0.1)
        await ctx.publish("child.x", {})
        return int(await ctx.call("child", {}))

    async def child(_: Any, ctx: Context) -> int:
        seen.append(dict(ctx._task.extra))
        return 7

    fleet, own = ManualFleet(), {"traceparent": PARENT, "tracestate": "a=b"}
    try:
        await fleet.start(made(parent, "parent"))
        await fleet.start(made(child, "child", listens="child.#"))
        await fleet.bus.publish([envelope(extra={**own, "x-else": "1"})])
        await fleet.until(lambda: len(seen) == 4)
    finally:
        await fleet.close()
    assert seen[:2] == [{**own, "x-else": "1"}] * 2
    assert seen[2:] == [own] * 2


def envelope(**more: Any) -> Envelope:
    """A task."""
    return Envelope(id="t1", topic="work.x", source="/test", time=0.0, body=b"{}", **more)


def test_a_span_that_was_begun_elsewhere_is_the_parent_however_it_is_told() -> None:
    spans = Spans(TracerProvider(shutdown_on_exit=False).get_tracer("t"), "memory")
    for name in ("traceparent", "ce-traceparent"):
        run = spans.run(envelope(extra={name: PARENT}), "worker", 0.0)
        assert run.ids["trace_id"] == TRACE
        assert run.header.startswith(f"00-{TRACE}-")
        run.end("succeeded", None)
    rootless = spans.run(envelope(extra={"traceparent": "rubbish"}), "worker", 0.0)
    assert rootless.ids["trace_id"] != TRACE


def test_what_is_published_tells_the_newest_context_only() -> None:
    spans = Spans(TracerProvider(shutdown_on_exit=False).get_tracer("t"), "memory")
    old = {"ce-traceparent": PARENT, "tracestate": "old=1", "x-else": "1"}
    with spans.publish([envelope(extra=old)]) as (sent,):
        assert sent.extra.keys() == {"traceparent", "x-else"}
        assert trace_of(sent.extra) != TRACE


def test_a_caller_who_traces_by_himself_is_continued_without_any_provider_of_ours() -> None:
    context = SpanContext(int(TRACE, 16), int(SPAN, 16), is_remote=False, trace_flags=TraceFlags(1))
    borrowed = Borrowed("memory")
    with trace.use_span(NonRecordingSpan(context)), borrowed.publish([envelope()]) as (sent,):
        assert sent.extra == {"traceparent": PARENT}
    with borrowed.publish([envelope()]) as (sent,):
        assert sent.extra == {}


def test_without_a_collector_nothing_is_made_and_nothing_imported() -> None:
    """Neither by who publishes nor by what works."""
    code = "import sys, workers.wiring, workers.engine.child, workers.cli.publish\n"
    code += "from workers.telemetry.opening import *\n"
    code += "from workers.telemetry.settings import TelemetrySettings as S\n"
    code += "tracing = open_tracing(S(), 'nats', {}), open_client_tracing(S(), 'nats', {})\n"
    code += "with tracing[1].publish([]): pass\n"
    code += "print([n for n in sys.modules if n.startswith(('opentelemetry', 'prometheus'))])"
    root = Path(__file__).parents[2]
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env={}, capture_output=True, text=True, check=True
    )
    assert found.stdout == "[]\n"


@pytest.mark.parametrize(
    ("environment", "makes"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}, False),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
            False,
        ),
    ],
)
async def test_the_standard_variables_say_whether_spans_are_made(
    monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str], makes: bool
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = open_client_tracing(TelemetrySettings(), "nats", {})
    assert (found.counts() is not None) is makes
    await found.close()


def test_a_collector_without_what_speaks_to_it_is_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the settings of the fleet ask for it; a variable that a whole cluster sets is noted."""
    monkeypatch.setattr(opening, "find_spec", lambda _: None)
    monkeypatch.setattr(opening, "provider_in_use", lambda: None)
    with pytest.raises(SettingsError) as caught:
        open_tracing(TelemetrySettings(otlp="http://127.0.0.1:4318"), "nats", {})
    assert "muster[otel]" in caught.value.actions[0]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    assert isinstance(open_tracing(TelemetrySettings(), "nats", {}), NoTracing)
