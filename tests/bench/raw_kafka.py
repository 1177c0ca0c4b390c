"""Raw `aiokafka` at its best, which the Kafka backend is measured against, side by side.

No muster code in the raw half: whole batches to the partitions of a topic, two under way; a
consumer that prefetches, one statement that claims the keys of a pull in PostgreSQL and one commit
of offsets per pull: Kafka has no claims, so without them a key could run twice. The same
topic settings, batch sizes and seven headers as the backend has.
`python -m tests.bench.raw_kafka` starts servers of its own and prints a table.
"""

import asyncio
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bus.backend import HIGH, LOW, NORMAL, RETRY, Message
from bus.backends.kafka.opening import open_parts
from bus.opening import Terms
from contracts.clock import SystemClock
from tests.kafka_server import KafkaServer
from tests.servers import PostgresServer, open_folder

BATCH = 500
PULL = 400
PARTITIONS = 2
_HEADERS = {
    "ce-specversion": "1.0",
    "ce-type": "bench.noop",
    "ce-source": "/muster/bench",
    "ce-time": "2026-01-01T00:00:00.000000Z",
    "ce-id": "0199a1b2-0000-7000-8000-000000000000",
    "content-type": "application/json",
    "muster-version": "1",
}
_TOPIC = {
    "retention.ms": "-1",
    "segment.bytes": str(16 << 20),
    "message.timestamp.type": "LogAppendTime",
    "flush.messages": "1",
}
_TABLE = 'CREATE TABLE {} (key text COLLATE "C" PRIMARY KEY, at timestamptz NOT NULL)'
_CLAIM = """INSERT INTO {} SELECT key, now() + interval '10 s' FROM unnest($1::text[]) key
ON CONFLICT DO NOTHING RETURNING key"""


async def raw(url: str, database: str, n: int, size: int = 500) -> tuple[float, float]:
    """Messages per second published, two batches under way, and consumed: claimed before they are
    handed over, and committed when they are done, two commits under way."""
    address, topic = url.removeprefix("kafka://"), f"raw_{uuid.uuid4().hex}"
    admin = await _topic(address, topic)
    published = await _raw_publish(address, topic, n, size)
    consumed = await _raw_consume(address, database, topic, n)
    await _end(admin, topic)
    return published, consumed


async def _topic(address: str, topic: str) -> AIOKafkaAdminClient:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1, topic_configs=_TOPIC)])
    return admin


async def _end(admin: AIOKafkaAdminClient, topic: str) -> None:
    await admin.delete_topics([topic])
    await admin.close()


async def _raw_publish(address: str, topic: str, n: int, size: int) -> float:
    producer = AIOKafkaProducer(bootstrap_servers=address, acks="all", max_batch_size=900_000)
    await producer.start()
    await producer.partitions_for(topic)
    body = b"x" * size

    async def publish(first: int) -> None:
        batch = producer.create_batch()
        for number in range(first, min(first + BATCH, n)):
            key = b"task-%d" % number
            headers = [(name, value.encode()) for name, value in _HEADERS.items()]
            batch.append(key=key, value=body, timestamp=None, headers=headers)
        await (await producer.send_batch(batch, topic, partition=first // BATCH % PARTITIONS))

    published = await _two_at_a_time(publish, n)
    await producer.stop()
    return published


@asynccontextmanager
async def _consumer(
    address: str, database: str, topic: str
) -> AsyncIterator[tuple[AIOKafkaConsumer, Callable[[list[str]], Awaitable[list[Any]]]]]:
    """A consumer with partitions, and what claims keys."""
    settings = {"synchronous_commit": "off"}
    pool = await asyncpg.create_pool(database, min_size=2, max_size=2, server_settings=settings)
    await pool.execute(_TABLE.format(topic))
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=address,
        group_id=topic,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    while not consumer.assignment():  # noqa: ASYNC110 - the library tells nobody
        await asyncio.sleep(0.01)

    async def claim(keys: list[str]) -> list[Any]:
        found: list[Any] = await pool.fetch(_CLAIM.format(topic), keys)
        return found

    try:
        yield consumer, claim
    finally:
        await consumer.stop()
        await pool.execute(f"DROP TABLE {topic}")
        await pool.close()


async def _raw_consume(address: str, database: str, topic: str, n: int) -> float:
    got = 0
    settling: list[asyncio.Future[Any]] = []
    async with _consumer(address, database, topic) as (consumer, claim):
        started = time.perf_counter()
        while got < n:
            found = await consumer.getmany(max_records=PULL, timeout_ms=1000)
            records = [each for some in found.values() for each in some]
            if not records:
                continue
            for each in records:
                {name: value.decode() for name, value in each.headers}
            got += len(await claim([each.key.decode() for each in records]))
            ends = {part: some[-1].offset + 1 for part, some in found.items() if some}
            settling.append(asyncio.ensure_future(consumer.commit(ends)))
            if len(settling) > 1:
                await settling.pop(0)
        await asyncio.gather(*settling)
        return n / (time.perf_counter() - started)


async def ours(url: str, database: str, n: int, size: int = 500) -> tuple[float, float]:
    """The same through the backend."""
    fleet = f"b{uuid.uuid4().hex[:10]}"
    clock = SystemClock()
    parts = await open_parts(Terms(url=url, fleet=fleet, clock=clock, database=database))
    backend = parts.backend
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
    await parts.store.close()
    await parts.close()
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


async def latency(url: str, database: str, n: int, size: int = 500) -> list[float]:
    """Seconds from the call of publish until a message is in the hands of a consumer that waits,
    claimed and committed, `n` times, on connections of their own without other load."""
    address, topic = url.removeprefix("kafka://"), f"raw_{uuid.uuid4().hex}"
    admin = await _topic(address, topic)
    producer = AIOKafkaProducer(bootstrap_servers=address, acks="all")
    await producer.start()
    body, found = b"x" * size, list[float]()
    async with _consumer(address, database, topic) as (consumer, claim):
        for number in range(n):
            coming = asyncio.ensure_future(consumer.getmany(timeout_ms=5000))
            await asyncio.sleep(0.01)
            headers = [(name, value.encode()) for name, value in _HEADERS.items()]
            started = time.perf_counter()
            await producer.send_and_wait(topic, body, key=b"m%d" % number, headers=headers)
            some = await coming
            await claim([each.key.decode() for records in some.values() for each in records])
            await consumer.commit()
            found.append(time.perf_counter() - started)
    await producer.stop()
    await _end(admin, topic)
    return found


async def measure(url: str, database: str, rounds: int, n: int) -> list[str]:
    """Raw and ours by turns; the ratios are of the same round."""
    lines, publish, consume = [], [], []
    for _ in range(rounds):
        theirs, mine = await raw(url, database, n), await ours(url, database, n)
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
    with tempfile.TemporaryDirectory() as folder, open_folder() as free:
        store = PostgresServer(free / "state")
        store.start()
        server = KafkaServer(Path(folder), store, store.url)
        try:
            server.start()
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                print(*runner.run(measure(server.url, store.url, rounds, n)), sep="\n")
        finally:
            server.stop()
            store.stop()


if __name__ == "__main__":
    main()
