"""Raw `redis-py` at its best, which the Redis backend is measured against, side by side.

No muster code: a stream with a consumer group, one script per batch that notes keys
and adds entries, blocked reads, one script per batch that acknowledges and deletes. The same server
settings, batch sizes and seven headers as the backend has.
"""

import asyncio
import json
import time
import uuid
from typing import Any

from redis.asyncio import Redis

from tests.bench.batches import BATCH, HEADERS, PULL, REST, two_at_a_time

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
            arguments += (f"task-{number}", json.dumps(dict(HEADERS)), body)
        await add(keys=[stream], args=arguments)

    published = await two_at_a_time(publish, n)
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
        await asyncio.sleep(REST)
        started = time.perf_counter()
        await add(keys=[stream], args=[f"task-{number}", json.dumps(dict(HEADERS)), b"x" * size])
        await coming
        found.append(time.perf_counter() - started)
    await sender.delete(stream)
    await sender.aclose()
    await receiver.aclose()
    return found
