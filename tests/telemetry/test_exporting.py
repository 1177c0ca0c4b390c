"""A collector that is slow, away or full of errors costs spans, counted, and nothing else."""

import asyncio
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider

from contracts.envelope import Envelope
from deploy import ports
from tests.e2e.fleets import bound
from tests.probing import addresses
from tests.processes import worker_processes
from tests.servers import NatsServer
from tests.telemetry.collector import Collector, collecting
from tests.telemetry.scenes import Scene
from tests.telemetry.test_metrics import scraped
from workers.telemetry import exporting
from workers.telemetry.exporting import Exported, Sender, exported


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector of the test's own."""
    with collecting() as made:
        yield made


def ended(sender: Sender, count: int) -> None:
    """So many spans end."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(sender)
    tracer = provider.get_tracer("test")
    for number in range(count):
        tracer.start_span(f"span {number}").end()


def sending(url: str, timeout: float = 5.0) -> Sender:
    """What sends to this collector."""
    return Sender(OTLPSpanExporter(endpoint=f"{url}/v1/traces", timeout=timeout))


def test_what_ended_is_sent_once_and_counted(collector: Collector) -> None:
    sender = sending(collector.url)
    ended(sender, 2000)
    assert sender.force_flush()
    sender.shutdown()
    assert len({span.id for span in collector.spans}) == len(collector.spans) == 2000
    assert sender.counts == exporting.Sent(sent=2000)
    assert collector.requests < 100


def test_what_ends_last_is_sent_by_the_end_of_the_process(collector: Collector) -> None:
    sender = sending(collector.url)
    ended(sender, 3)
    sender.shutdown()
    assert len(collector.spans) == 3
    ended(sender, 1)
    assert sender.counts == exporting.Sent(sent=3, dropped=1)


def test_a_collector_that_hangs_holds_up_neither_the_work_nor_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ending a span never waits; what finds no place is dropped and counted."""
    monkeypatch.setattr(exporting, "FLUSH", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        sender = sending(f"http://127.0.0.1:{deaf.getsockname()[1]}")
        before = time.monotonic()
        ended(sender, exporting.MOST + 2 * exporting.BATCH)
        assert sender.counts.dropped >= exporting.BATCH
        ending = time.monotonic()
        sender.shutdown()
        assert time.monotonic() - ending < 0.3 + 1.0
        assert sender.counts.sent == 0
        assert time.monotonic() - before < 5.0


def test_spans_that_are_refused_are_counted_and_later_ones_are_sent(collector: Collector) -> None:
    """Whether the collector is reached can be asked for."""
    collector.answers = 400
    found = exported({}, "nats", endpoint=f"{collector.url}/v1/traces", sample=None)
    task = Envelope(id="t", topic="a.b", source="/t", time=0.0, body=b"{}")
    published(found, task)
    told = {"sent": 0, "dropped": 0, "refused": 1}
    assert (found.reaches, found.counts()) == (False, told)
    collector.answers = 200
    published(found, task)
    assert (found.reaches, found.counts()) == (True, {**told, "sent": 1})
    found.provider.shutdown()


def published(found: Exported, task: Envelope) -> None:
    """One publish whose span is sent, or not."""
    with found.publish([task]):
        pass
    assert found.provider.force_flush()


def test_only_a_share_of_traces_is_kept_and_each_of_them_whole(collector: Collector) -> None:
    found = exported({}, "nats", endpoint=f"{collector.url}/v1/traces", sample=0.25)
    task = Envelope(id="t", topic="a.b", source="/t", time=0.0, body=b"{}")
    for _ in range(400):
        with found.publish([task]) as (sent,):
            run = found.run(sent, "role", 0.0)
        run.end("succeeded", None)
    found.provider.shutdown()
    publishes, runs = collector.named("publish a.b"), collector.named("run role")
    assert {span.trace for span in publishes} == {span.trace for span in runs}
    assert 40 < len(publishes) == len(runs) < 180


@pytest.mark.nats
@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["away", "hangs"])
async def test_tasks_and_drains_do_not_wait_for_a_collector(
    nats_server: NatsServer, tmp_path: Path, trouble: str
) -> None:
    """Results come, the process ends in time, and says how many spans were lost."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1] if trouble == "hangs" else ports.free()
        scene = Scene(nats_server.url, tmp_path, f"http://127.0.0.1:{port}")
        more = {**scene.more, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
        with worker_processes(*scene.place, roles=str(scene.roles), more=more) as workers:
            pids = [workers.start(role)[0] for role in ("answerer", "apart")]
            async with await scene.client() as fleet, asyncio.timeout(20):
                await bound(fleet, "answerer", "apart")
                health = (await addresses(fleet.bus.store, "answerer"))[pids[0]]
                tasks = [await fleet.publish("answer.x", {}) for _ in range(50)]
                took = time.monotonic()
                tasks += [await fleet.publish("told.x", {}) for _ in range(5)]
                await asyncio.gather(*(task.result() for task in tasks))
                assert time.monotonic() - took < 5.0
                if trouble == "away":
                    found = await scraped(health)
                    while found.by("muster_spans_total", "became").get(("refused",), 0) < 1:
                        found = await scraped(health)
            ending = time.monotonic()
            for pid in pids:
                workers.signal(pid, signal.SIGTERM)
            codes = [await asyncio.to_thread(workers.wait, pid) for pid in pids]
            assert codes == [0, 0]
            assert time.monotonic() - ending < exporting.FLUSH + 3.0


@pytest.mark.nats
@pytest.mark.slow
async def test_the_spans_of_the_last_runs_are_sent_by_the_drain(
    nats_server: NatsServer, tmp_path: Path, collector: Collector
) -> None:
    scene = Scene(nats_server.url, tmp_path, collector.url)
    with worker_processes(*scene.place, roles=str(scene.roles), more=scene.more) as workers:
        (pid,) = workers.start("answerer")
        async with await scene.client() as fleet, asyncio.timeout(20):
            await bound(fleet, "answerer")
            tasks = await fleet.publish_many([("answer.x", {})] * 20)
            await asyncio.gather(*(task.result() for task in tasks))
        workers.signal(pid, signal.SIGTERM)
        assert await asyncio.to_thread(workers.wait, pid) == 0
    assert len(collector.named("run answerer")) == len(collector.named("settle answerer")) == 20
    runs = {span.id for span in collector.named("run answerer")}
    assert {span.parent for span in collector.named("settle answerer")} == runs
