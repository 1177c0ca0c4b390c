"""Raw `redis-py` at its best, which the Redis backend is measured against, side by side.

No muster code in the raw half: a stream with a consumer group, one script per batch that notes keys
and adds entries, blocked reads, one script per batch that acknowledges and deletes. The same server
settings, batch sizes and seven headers as the backend has. `python -m tests.bench.raw_redis` starts
a server of its own and prints a table.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop
from redis.asyncio import Redis

from bus.backend import HIGH, LOW, NORMAL, RETRY, Message
from bus.backends.redis.backend import RedisBackend
from bus.backends.redis.connect import connect
from bus.opening import Terms
from contracts.clock import SystemClock
from tests.redis_server import RedisServer

BATCH = 500
PULL = 400
_HEADERS = {
    "ce-specversion": "1.0",
    "ce-type": "bench.noop",
    "ce-source": "/muster/bench",
    "ce-time": "2026-01-01T00:00:00.000000Z",
    "ce-id": "0199a1b2-0000-7000-8000-000000000000",
    "content-type": "application/json",
    "muster-version": "1",
}
_ADD = """
for i = 1, #ARGV, 3 do
  if redis.call('SET', KEYS[1] .. ':seen:' .. ARGV[i], 1, 'NX', 'PX', 120000) then
    redis.call('XADD', KEYS[1], '*', 'h', ARGV[i + 1], 'b', ARGV[i + 2])
  end
end"""
_DONE = """
redis.call('XACK', KEYS[1], 'g', unpack(ARGV))
redis.call('XDEL', KEYS[1], unpack(ARGV))"""


async def raw(url: str, n: int, size: int = 500) -> tuple[float, float]:
    """Messages per second published, two batches under way, and consumed."""
    client = Redis.from_url(url)
    stream = f"raw:{uuid.uuid4().hex}"
    await client.xgroup_create(stream, "g", id="0", mkstream=True)
    add, done = client.register_script(_ADD), client.register_script(_DONE)
    body = b"x" * size

    async def publish(first: int) -> None:
        arguments: list[Any] = []
        for number in range(first, min(first + BATCH, n)):
            arguments += (f"task-{number}", json.dumps(_HEADERS), body)
        await add(keys=[stream], args=arguments)

    published = await _two_at_a_time(publish, n)
    started, got = time.perf_counter(), 0
    settling: list[asyncio.Future[Any]] = []
    while got < n:
        answer: Any = await client.xreadgroup("g", "me", {stream: ">"}, PULL, block=1000)
        entries = answer[0][1] if isinstance(answer, list) else answer[stream.encode()][0]
        for _, fields in entries:
            json.loads(fields[b"h"])
        ids = [entry for entry, _ in entries]
        settling.append(asyncio.ensure_future(done(keys=[stream], args=ids)))
        got += len(ids)
        if len(settling) > 1:
            await settling.pop(0)
    await asyncio.gather(*settling)
    consumed = n / (time.perf_counter() - started)
    await client.delete(stream)
    await client.aclose()
    return published, consumed


async def latency(url: str, n: int, size: int = 500) -> list[float]:
    """Seconds from the call of publish to delivery, `n` times, to a blocked read, on two
    connections without other load."""
    sender, receiver = Redis.from_url(url), Redis.from_url(url)
    stream = f"raw:{uuid.uuid4().hex}"
    await receiver.xgroup_create(stream, "g", id="0", mkstream=True)
    add = sender.register_script(_ADD)
    found: list[float] = []
    for number in range(n):
        coming = asyncio.ensure_future(receiver.xreadgroup("g", "me", {stream: ">"}, 1, block=5000))
        await asyncio.sleep(0.01)
        started = time.perf_counter()
        await add(keys=[stream], args=[f"task-{number}", json.dumps(_HEADERS), b"x" * size])
        await coming
        found.append(time.perf_counter() - started)
    await sender.delete(stream)
    await sender.aclose()
    await receiver.aclose()
    return found


async def ours(url: str, n: int, size: int = 500) -> tuple[float, float]:
    """The same through the backend."""
    fleet = f"b{uuid.uuid4().hex[:10]}"
    link = await connect(Terms(url=url, fleet=fleet, clock=SystemClock()))
    backend = RedisBackend(link)
    await backend.bind("g", ["bench.#"])
    body = b"x" * size

    async def publish(first: int) -> None:
        numbers = range(first, min(first + BATCH, n))
        tasks = [Message(f"task-{k}", 0, "bench.noop", body, dict(_HEADERS)) for k in numbers]
        await backend.publish(tasks)

    published = await _two_at_a_time(publish, n)
    started, got = time.perf_counter(), 0
    settling: list[asyncio.Task[Any]] = []
    while got < n:
        held = await backend.pull("g", (HIGH, RETRY, NORMAL, LOW), limit=PULL, wait=1)
        settling.append(asyncio.create_task(backend.settle(held)))
        got += len(held)
        if len(settling) > 1:
            await settling.pop(0)
    await asyncio.gather(*settling)
    consumed = n / (time.perf_counter() - started)
    await backend.unbind("g", drop=True)
    await backend.close()
    await link.close()
    return published, consumed


async def _two_at_a_time(publish: Callable[[int], Awaitable[None]], n: int) -> float:
    started = time.perf_counter()
    waiting: list[asyncio.Future[None]] = []
    for first in range(0, n, BATCH):
        waiting.append(asyncio.ensure_future(publish(first)))
        await asyncio.sleep(0)
        if len(waiting) > 1:
            await waiting.pop(0)
    await asyncio.gather(*waiting)
    return n / (time.perf_counter() - started)


async def measure(url: str, rounds: int, n: int) -> list[str]:
    """Raw and ours by turns; the ratios are of the same round."""
    lines, publish, consume = [], [], []
    for _ in range(rounds):
        theirs, mine = await raw(url, n), await ours(url, n)
        publish.append(mine[0] / theirs[0])
        consume.append(mine[1] / theirs[1])
        lines.append(
            f"publish {mine[0]:8,.0f} of {theirs[0]:8,.0f} ({publish[-1]:.2f})   "
            f"consume {mine[1]:8,.0f} of {theirs[1]:8,.0f} ({consume[-1]:.2f})"
        )
    lines.append(
        f"median of the ratios: publish {statistics.median(publish):.2f} (target 0.8), "
        f"consume {statistics.median(consume):.2f} (target 0.6)"
    )
    return lines


def main() -> None:
    """Print the table; rounds and messages may be given."""
    rounds, n = (int(word) for word in (sys.argv[1:] + ["7", "20000"][len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                print(*runner.run(measure(server.url, rounds, n)), sep="\n")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
