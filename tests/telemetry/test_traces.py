"""Real worker processes send their spans to a collector: one tree from publish to settle."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from tests.e2e.fleets import bound
from tests.processes import worker_processes
from tests.servers import NatsServer
from tests.telemetry.collector import Collector, Seen, collecting
from tests.telemetry.scenes import Scene
from workers.sdk.errors import TaskFailed

pytestmark = [pytest.mark.nats, pytest.mark.slow]


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector of the test's own."""
    with collecting() as made:
        yield made


@pytest.fixture
def scene(nats_server: NatsServer, tmp_path: Path, collector: Collector) -> Scene:
    """Roles, a fleet name and a collector."""
    return Scene(nats_server.url, tmp_path, collector.url)


def below(spans: list[Seen], parent: Seen) -> list[str]:
    """The names of the spans whose parent this is, by their start."""
    found = [span for span in spans if span.parent == parent.id]
    return [span.name for span in sorted(found, key=lambda span: span.start)]


async def test_publish_run_call_and_settle_are_one_tree(scene: Scene, collector: Collector) -> None:
    """Over four processes: a publish, its run, the handler's own span, the call in it with the run
    of the child, a follow-up with the handler's span in a child process and a call in that, and
    each settle."""
    with worker_processes(*scene.place, roles=str(scene.roles), more=scene.more) as workers:
        pids = [workers.start(role)[0] for role in ("asker", "answerer", "apart")]
        async with await scene.client(otlp=collector.url) as fleet, asyncio.timeout(20):
            await bound(fleet, "asker", "answerer", "apart")
            task = await fleet.publish("ask.x", {}, tenant="acme")
            assert await task.result() == 42
        spans = await asyncio.to_thread(collector.until, "settle apart", "settle asker")
        for pid in pids:
            workers.signal(pid, signal.SIGTERM)
        assert [await asyncio.to_thread(workers.wait, pid) for pid in pids] == [0, 0, 0]
    spans = collector.spans
    assert len({span.trace for span in spans}) == 1
    (publish,) = collector.named("publish ask.x")
    assert (publish.parent, publish.kind, below(spans, publish)) == ("", "producer", ["run asker"])
    (run,) = collector.named("run asker")
    assert below(spans, run) == ["think", "settle asker"]
    (think,) = collector.named("think")
    assert below(spans, think) == ["call answerer", "publish told.x"]
    call, call_apart = collector.named("call answerer")
    assert below(spans, call) == below(spans, call_apart) == ["run answerer"]
    (told,) = collector.named("publish told.x")
    assert below(spans, told) == ["run apart"]
    (apart,) = collector.named("run apart")
    assert below(spans, apart) == ["inside", "settle apart"]
    (inside,) = collector.named("inside")
    assert below(spans, inside) == ["call answerer"]
    assert len({str(span.resource["service.instance.id"]) for span in spans}) == 4
    assert run.attributes == {
        "messaging.system": "nats",
        "messaging.client.id": run.resource["service.instance.id"],
        "messaging.operation.type": "process",
        "messaging.operation.name": "run",
        "messaging.destination.name": "ask.x",
        "messaging.consumer.group.name": "asker",
        "messaging.message.id": task.id,
        "messaging.message.body.size": 2,
        "muster.task.id": task.id,
        "muster.task.attempt": 1,
        "muster.task.fence": 0,
        "muster.task.priority": "normal",
        "muster.role": "asker",
        "muster.tenant": "acme",
        "muster.outcome": "succeeded",
    }
    assert run.start <= think.start <= call.start <= call.end <= run.end
    assert run.resource["service.namespace"] == scene.name


async def test_retries_are_runs_of_one_trace_that_link_to_the_first(
    scene: Scene, collector: Collector
) -> None:
    """Each has the publish as parent; the error of a run that failed is on its span."""
    with worker_processes(*scene.place, roles=str(scene.roles), more=scene.more) as workers:
        for role in ("asker", "answerer", "refuser"):
            workers.start(role)
        async with await scene.client(otlp=collector.url) as fleet, asyncio.timeout(20):
            await fleet.bus.bind("other", ["told.#"])
            await bound(fleet, "asker", "answerer", "refuser")
            task = await fleet.publish("ask.x", {"fail": 2})
            assert await task.result() == 42
            refused = await fleet.publish("refuse.x", {})
            wrong = await fleet.publish("refuse.y", {"fail": "much"})
            for each in (refused, wrong):
                with pytest.raises(TaskFailed):
                    await each.result()
        await asyncio.to_thread(collector.until, "settle asker", count=3)
        await asyncio.to_thread(collector.until, "settle refuser", count=2)
        await asyncio.to_thread(collector.until, "run asker", count=3)
        await asyncio.to_thread(collector.until, "run refuser", count=2)
    (publish,) = collector.named("publish ask.x")
    runs = collector.named("run asker")
    assert [run.parent for run in runs] == [publish.id] * 3
    assert [run.links for run in runs] == [(), (runs[0].id,), (runs[0].id,)]
    outcomes = [(run.attributes["muster.outcome"], run.failed) for run in runs]
    assert outcomes == [("retried", True), ("retried", True), ("succeeded", False)]
    assert [run.attributes["muster.task.attempt"] for run in runs] == [1, 2, 3]
    assert [run.attributes["muster.task.fence"] for run in runs] == [0, 1, 2]
    (raised,) = runs[0].events
    assert raised["name"] == "exception"
    assert raised["exception.type"] == "ValueError"
    assert "thinks nothing" in str(raised["exception.stacktrace"])
    kinds = {run.attributes["error.type"] for run in collector.named("run refuser")}
    assert kinds == {"RuntimeError", "invalid"}
    assert {run.attributes["muster.outcome"] for run in collector.named("run refuser")} == {
        "failed"
    }


async def test_a_crash_leaves_the_run_that_follows_in_the_trace(
    scene: Scene, collector: Collector
) -> None:
    """What dies with its process is not told; the run of its successor, in a child process that it
    kills too, says that it crashed, and the one after it ends the task."""
    with worker_processes(*scene.place, roles=str(scene.roles), more=scene.more) as workers:
        workers.start("asker", 2)
        workers.start("answerer")
        async with await scene.client(otlp=collector.url) as fleet, asyncio.timeout(30):
            await fleet.bus.bind("other", ["told.#"])
            await bound(fleet, "asker", count=2)
            await bound(fleet, "answerer")
            task = await fleet.publish("ask.x", {"crash": 2})
            assert await task.result() == 42
        await asyncio.to_thread(collector.until, "settle asker", "run asker", count=2)
    (publish,) = collector.named("publish ask.x")
    runs = collector.named("run asker")
    assert [run.parent for run in runs] == [publish.id] * 2
    assert [run.attributes["muster.task.attempt"] for run in runs] == [2, 3]
    assert [run.attributes.get("error.type") for run in runs] == ["crash", None]
    assert all(run.attributes["muster.task.suspect"] for run in runs)
    assert runs[1].links == (runs[0].id,)
    (think,) = collector.named("think")
    assert think.parent == runs[1].id
    (call,) = collector.named("call answerer")
    assert call.parent == think.id


async def test_the_span_of_a_caller_who_traces_is_continued(
    scene: Scene, collector: Collector
) -> None:
    """Without any setting of ours on his side: his provider, his current span."""
    provider = TracerProvider()
    with worker_processes(*scene.place, roles=str(scene.roles), more=scene.more) as workers:
        workers.start("answerer")
        workers.start("asker")
        async with await scene.client() as fleet, asyncio.timeout(20):
            await fleet.bus.bind("other", ["told.#"])
            await bound(fleet, "asker", "answerer")
            with trace.use_span(provider.get_tracer("shop").start_span("order")) as span:
                task = await fleet.publish("ask.x", {})
            assert await task.result() == 42
        await asyncio.to_thread(collector.until, "settle asker")
    found = span.get_span_context()
    (run,) = collector.named("run asker")
    assert (run.trace, run.parent) == (f"{found.trace_id:032x}", f"{found.span_id:016x}")


async def test_the_standard_variables_are_enough_for_workers_and_for_the_command(
    scene: Scene, collector: Collector
) -> None:
    """`muster publish` sends its span before it ends; names of the environment come first."""
    more = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_SERVICE_NAME": "support"}
    with worker_processes(*scene.place, roles=str(scene.roles), more=more) as workers:
        workers.start("answerer")
        async with await scene.client() as fleet, asyncio.timeout(20):
            await bound(fleet, "answerer")
        command = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "workers.cli.main", "publish", "answer.x", "{}", "--wait"),
            env={**workers.environment, **more},
            cwd=scene.folder,
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await command.communicate()
        assert (said, command.returncode) == (b"42\n", 0)
        (publish,) = collector.named("publish answer.x")
        await asyncio.to_thread(collector.until, "settle answerer", "run answerer")
    (run,) = collector.named("run answerer")
    assert (run.trace, run.parent) == (publish.trace, publish.id)
    assert {span.resource["service.name"] for span in collector.spans} == {"support"}


OWN_PROVIDER = '''\
"""A role whose folder traces by itself."""

import os

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from workers import Context, role

provider = TracerProvider(resource=Resource.create({"service.name": "own"}))
exporter = OTLPSpanExporter(endpoint=os.environ["COLLECTOR"] + "/v1/traces")
provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=50))
trace.set_tracer_provider(provider)


@role("own", listens="own.#")
async def own(work: dict[str, int], ctx: Context) -> int:
    with trace.get_tracer("agent").start_as_current_span("think"):
        return 1
'''


async def test_a_provider_that_a_role_has_set_is_used(scene: Scene, collector: Collector) -> None:
    """Whatever the settings say: its spans and ours are to lie in one place."""
    (scene.roles / "own.py").write_text(OWN_PROVIDER, encoding="utf-8")
    more = {"MUSTER_TELEMETRY_OTLP": "http://127.0.0.1:9", "COLLECTOR": collector.url}
    with worker_processes(*scene.place, roles=str(scene.roles), more=more) as workers:
        workers.start("own")
        async with await scene.client() as fleet, asyncio.timeout(20):
            await bound(fleet, "own")
            task = await fleet.publish("own.x", {})
            assert await task.result() == 1
        await asyncio.to_thread(collector.until, "settle own", "run own", "think")
    (run,) = collector.named("run own")
    assert below(collector.spans, run) == ["think", "settle own"]
    assert {span.resource["service.name"] for span in collector.spans} == {"own"}
