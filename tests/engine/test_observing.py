"""What is counted and traced of runs that do not simply end; nothing leaks from run to run."""

import asyncio
import logging
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.engine.fleets import LEASE, ManualFleet, made
from tests.engine.test_leases import Gate, gated
from workers.sdk.context import Context
from workers.telemetry.logs import LABELS, labels
from workers.telemetry.spans import Spans
from workers.telemetry.tally import Tally
from workers.telemetry.telling import Telling


class Kept:
    """Makes spans, and keeps those that have ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.telling = Telling(Spans(provider.get_tracer("test"), "memory"))

    def named(self, name: str) -> list[ReadableSpan]:
        """In the order in which they ended."""
        return [span for span in self._exporter.get_finished_spans() if span.name == name]


@pytest.fixture
def kept(fleet: ManualFleet) -> Kept:
    """What the workers of the fleet trace."""
    made = Kept()
    fleet.telling = made.telling
    return made


def only(fleet: ManualFleet, number: int = 0) -> Tally:
    """The one tally of a worker."""
    (tally,) = fleet.members[number].worker.counts.tallies.values()
    return tally


def outcomes(kept: Kept) -> list[object]:
    """What became of the runs that were traced."""
    return [(span.attributes or {})["muster.outcome"] for span in kept.named("run worker")]


async def test_a_run_that_loses_its_lease_is_lost_here_and_a_success_there(
    fleet: ManualFleet, kept: Kept
) -> None:
    gate = Gate()
    first = await fleet.start(gated(gate))
    task = await fleet.client.publish("work.a", None)
    await fleet.until(lambda: gate.runs == 1)
    first.cut_off()
    await fleet.start(gated(gate))
    await fleet.clock.advance(LEASE)
    first.worker.abandon()
    await fleet.until(lambda: gate.runs == 2, LEASE)
    gate.open.set()
    assert await fleet.within(task.result()) == 2
    await fleet.until(lambda: fleet.members[1].worker.counts.succeeded == 1)
    assert (only(fleet).started, only(fleet).lost, only(fleet).succeeded) == (1, 1, 0)
    assert outcomes(kept) == ["lost", "succeeded"]


async def test_what_a_drain_gives_back_is_returned(fleet: ManualFleet, kept: Kept) -> None:
    gate = Gate()
    member = await fleet.start(gated(gate), drain=0.0)
    await fleet.client.publish("work.a", None)
    await fleet.until(lambda: gate.runs == 1)
    await fleet.stopped(member)
    assert (only(fleet).started, only(fleet).returned) == (1, 1)
    assert outcomes(kept) == ["returned"]
    assert kept.named("settle worker") == []


async def test_a_cancelled_run_is_cancelled(fleet: ManualFleet, kept: Kept) -> None:
    gate = Gate()
    await fleet.start(gated(gate))
    task = await fleet.client.publish("work.a", None)
    await fleet.until(lambda: gate.runs == 1)
    await fleet.within(task.cancel("not wanted"))
    await fleet.until(lambda: fleet.members[0].worker.counts.cancelled == 1)
    assert outcomes(kept) == ["cancelled"]


async def test_nothing_of_a_run_is_left_to_the_next(
    fleet: ManualFleet, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is started by the end of the one before: neither labels nor spans are handed on. What a
    run starts belongs to it, also when it lives on."""
    seen: list[tuple[str, str, int]] = []
    outside: list[object] = []
    own = asyncio.Event()

    async def beside(ctx: Context) -> None:
        await own.wait()
        seen.append(mine(ctx))

    def mine(ctx: Context) -> tuple[str, str, int]:
        told = labels()
        span = trace.get_current_span().get_span_context()
        assert told["trace_id"] == f"{span.trace_id:032x}"
        assert told["span_id"] == f"{span.span_id:016x}"
        return ctx.id, str(told["task"]), span.span_id

    beside_them = set()

    async def handler(payload: Any, ctx: Context) -> None:
        seen.append(mine(ctx))
        beside_them.add(asyncio.create_task(beside(ctx)))

    member = await fleet.start(made(handler, concurrency=1))
    count = member.worker._observer.settled

    def settled(run: Any, finished: Any, plan: Any) -> None:
        outside.append(LABELS.get())
        count(run, finished, plan)

    monkeypatch.setattr(member.worker._observer, "settled", settled)
    tasks = await fleet.client.publish_many([("work.a", n) for n in range(20)])
    await fleet.until(lambda: member.worker.counts.succeeded == 20)
    own.set()
    await asyncio.gather(*beside_them)
    assert len(seen) == 40
    assert {own_id for own_id, _, _ in seen} == {task.id for task in tasks}
    assert all(own_id == told for own_id, told, _ in seen)
    assert len({span for _, _, span in seen}) == 20
    assert outside == [None] * 20
    parents = {span.parent.span_id for span in kept.named("settle worker") if span.parent}
    assert parents == {span for _, _, span in seen}


async def test_a_standard_logger_knows_the_run_in_the_threads_it_asked_for(
    fleet: ManualFleet,
) -> None:
    told: list[object] = []

    class Listening(logging.Handler):
        def emit(self, _: logging.LogRecord) -> None:
            told.append(labels().get("task"))

    log = logging.getLogger("tests.observing")
    log.addHandler(Listening())

    async def handler(payload: Any, ctx: Context) -> None:
        await asyncio.to_thread(log.warning, "from a thread")

    await fleet.start(made(handler))
    task = await fleet.client.publish("work.a", None)
    await fleet.until(lambda: told == [task.id])


async def test_a_handler_that_blocks_in_a_thread_is_labelled_and_traced_alike(
    fleet: ManualFleet, kept: Kept
) -> None:
    told: list[tuple[object, object]] = []

    def handler(payload: Any, ctx: Any) -> None:
        span = trace.get_current_span().get_span_context()
        told.append((labels().get("task"), labels().get("span_id") == f"{span.span_id:016x}"))

    await fleet.start(made(handler))
    task = await fleet.client.publish("work.a", None)
    await fleet.until(lambda: told == [(task.id, True)])
