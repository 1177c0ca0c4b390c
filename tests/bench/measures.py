"""What is measured: each function makes one figure from what really happened."""

import asyncio
import json
import subprocess
import time
from collections import deque
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import IO

import psutil
import uvloop
from pydantic_core import to_json

from bus.backend import Backend
from bus.bus import Bus
from contracts.clock import SystemClock
from contracts.envelope import Envelope
from contracts.ids import new_id
from contracts.topics import EVENTS
from tests.bench import raw_nats
from tests.bench.batches import REST
from tests.bench.servers import MUSTER, ROOT, Bench, server
from workers.fleet.client import FleetClient
from workers.fleet.options import Options
from workers.wiring import open_bus, open_parts

BODY = 500
CALL = 500
_PAYLOAD = {"sent": 0.0, "pad": "x" * (BODY - 28)}


@dataclass(frozen=True, slots=True)
class Rates:
    """Messages or tasks per second in one round. `fleet` publishes payloads, not envelopes."""

    publish: float
    consume: float
    fleet: float = 0.0


def raw(count: int) -> Rates:
    """The driver at its best: atomic batches, own pull requests, acknowledgements by publish."""
    with server() as bench:
        publish = uvloop.run(raw_nats.publish(bench.url, count, BODY))
        consume = uvloop.run(raw_nats.consume(bench.url, count))
    return Rates(publish, consume)


def ours(count: int) -> Rates:
    """The same through `Bus`: envelopes, dedupe keys, routability, batches, leases."""
    with server() as bench:
        return uvloop.run(through_bus(bench, count))


async def through_bus(bench: Bench, count: int) -> Rates:
    """On a server that runs; what was made there is forgotten."""
    loaded = bench.loaded()
    bus = await open_bus(loaded)
    await bus.bind("noop", ["bench.noop"])
    publish = await _publish_envelopes(bus, count)
    fleet = await _publish(bus, count, _PAYLOAD)
    parts = await open_parts(loaded, SystemClock(), "bench")
    bus_in = Bus(parts.backend, parts.store, clock=SystemClock(), release=parts.close)
    consume = 2 * count / await _consume(bus_in, parts.backend, 2 * count)
    await bus_in.close()
    await bus.unbind("noop", drop=True)
    await bus.close()
    return Rates(publish, consume, fleet)


async def _consume(bus: Bus, backend: Backend, count: int) -> float:
    """Seconds in which they are pulled and settled, two calls that settle under way. The first of
    them comes before: the bare clients are connected, too, when their clock begins to run."""
    first = await bus.pull("noop", free=1, wait=5.0)
    await backend.settle(first)
    start, seen = time.perf_counter(), len(first)
    settling: deque[asyncio.Task[object]] = deque()
    while seen < count:
        found = await bus.pull("noop", free=400, wait=5.0)
        settling.append(asyncio.create_task(backend.settle(found)))
        seen += len(found)
        if len(settling) > 1:
            await settling.popleft()
    await asyncio.gather(*settling)
    return time.perf_counter() - start


async def _publish_envelopes(bus: Bus, count: int) -> float:
    """What the bus itself does: envelopes that stand ready, in calls of 500."""
    now, body = time.time(), to_json(_PAYLOAD)
    tasks = [
        Envelope(id=new_id(now), topic="bench.noop", source="/bench", time=now, body=body)
        for _ in range(count)
    ]
    calls = (bus.publish(tasks[first : first + CALL]) for first in range(0, count, CALL))
    return count / await _two_at_a_time(calls)


async def _two_at_a_time(calls: Iterable[Coroutine[object, object, object]]) -> float:
    """Seconds that the calls take with two under way, as the driver has them."""
    start = time.perf_counter()
    under_way: deque[asyncio.Task[object]] = deque()
    for call in calls:
        under_way.append(asyncio.create_task(call))
        await asyncio.sleep(0)
        if len(under_way) > 1:
            await under_way.popleft()
    await asyncio.gather(*under_way)
    return time.perf_counter() - start


async def _publish(bus: Bus, count: int, payload: object) -> float:
    """Publish `count` tasks in calls of 500, two under way as with the driver; tasks per second."""
    fleet = FleetClient(bus, SystemClock())
    options = Options(reply=False)
    starts = range(0, count, CALL)
    batches = ([("bench.noop", payload)] * min(CALL, count - first) for first in starts)
    return count / await _two_at_a_time(fleet.publish_many(b, options) for b in batches)


def worker(count: int) -> float:
    """No-op tasks per second of one worker process, from its first start until all are settled:
    the process ends by itself then."""
    with server() as bench:
        return working(bench, count)


def working(bench: Bench, count: int) -> float:
    """The same on a server that runs; what was made there is forgotten."""
    uvloop.run(_fill(bench, count))
    environment = bench.environment(BENCH_TASKS=str(count))
    done = subprocess.run(
        [*MUSTER, "work", "noop"],
        env=environment,
        cwd=bench.folder,
        check=False,
        stdout=subprocess.PIPE,
        timeout=300,
    )
    seconds = time.time() - float(json.loads(done.stdout.splitlines()[0])["first"])
    uvloop.run(_forget(bench, "recorder", "noop"))
    return count / seconds


async def _forget(bench: Bench, *groups: str) -> None:
    bus = await open_bus(bench.loaded())
    for group in groups:
        await bus.unbind(group, drop=True)
    await bus.close()


async def _fill(bench: Bench, count: int) -> None:
    """Publish the tasks; somebody listens to events, so that they are kept durably."""
    bus = await open_bus(bench.loaded())
    await bus.bind("recorder", [EVENTS])
    await bus.bind("noop", ["bench.noop"])
    await _publish(bus, count, _PAYLOAD)
    await bus.close()


def raw_latency(count: int) -> list[float]:
    """Seconds from publish to delivery, driver only, nothing else going on."""
    with server() as bench:
        return uvloop.run(raw_nats.latency(bench.url, count))


def start_latency(count: int) -> list[float]:
    """Seconds from the call of publish to the first line of the handler, another process."""
    with server() as bench:
        return starting(bench, count)


def starting(bench: Bench, count: int) -> list[float]:
    """The same on a server that runs."""
    process = subprocess.Popen(
        [*MUSTER, "work", "clock"],
        env=dict(bench.environment()),
        cwd=bench.folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        return uvloop.run(_tick(bench, process.stdout, count))
    finally:
        process.terminate()
        process.communicate(timeout=30)


async def _tick(bench: Bench, lines: IO[str], count: int) -> list[float]:
    bus = await open_bus(bench.loaded())
    await bus.bind("clock", ["bench.clock"])
    fleet = FleetClient(bus, SystemClock())
    found: list[float] = []
    for number in range(count + 20):
        await fleet.publish("bench.clock", {"sent": time.time()}, reply=False)
        line = await asyncio.to_thread(lines.readline)
        await asyncio.sleep(REST)
        if number >= 20:
            found.append(float(line))
    await bus.close()
    return found


def idle_memory() -> tuple[float, float]:
    """MiB of an idle worker process: resident, and its own share (unique)."""
    with server() as bench:
        process = subprocess.Popen(
            [*MUSTER, "work", "clock"], env=dict(bench.environment()), cwd=bench.folder
        )
        try:
            uvloop.run(_until_alive(bench, "clock"))
            info = psutil.Process(process.pid).memory_full_info()
            return info.rss / 2**20, info.uss / 2**20
        finally:
            process.terminate()
            process.wait(30)


async def _until_alive(bench: Bench, role: str) -> None:
    from bus.keyvalue import keys
    from bus.keyvalue.protocol import Snapshot

    bus = await open_bus(bench.loaded())
    async for change in bus.store.watch(keys.alive(role)):
        if not (isinstance(change, Snapshot) and not change.entries):
            break
    await bus.close()


def help_seconds() -> float:
    """Wall seconds of `muster --help`."""
    start = time.perf_counter()
    subprocess.run([*MUSTER, "--help"], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return time.perf_counter() - start


def up_seconds() -> float:
    """Wall seconds of `muster up --detach`, which returns when every worker is ready."""
    with server() as bench:
        start = time.perf_counter()
        environment = {k: v for k, v in bench.environment().items() if k != "MUSTER_BUS_URL"}
        command = [*MUSTER, "up", "--detach"]
        subprocess.run(command, env=environment, cwd=bench.folder, check=True, capture_output=True)
        seconds = time.perf_counter() - start
        subprocess.run(
            [*MUSTER, "down"], env=environment, cwd=bench.folder, check=True, capture_output=True
        )
    return seconds
