"""Raw `aiokafka` at its best, which the Kafka backend is measured against, side by side.

No muster code: whole batches to the partitions of a topic, two under way; a
consumer that prefetches, one statement that claims the keys of a pull in PostgreSQL and one commit
of offsets per pull: Kafka has no claims, so without them a key could run twice. The same
topic settings, batch sizes and seven headers as the backend has.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.bench.batches import BATCH, HEADERS, PULL, REST, two_at_a_time

PARTITIONS = 2
_TOPIC = {
    "retention.ms": "-1",
    "segment.bytes": str(16 << 20),
    "message.timestamp.type": "LogAppendTime",
    "flush.messages": "1",
}
_TABLE = 'CREATE TABLE {} (key text COLLATE "C" PRIMARY KEY, at timestamptz NOT NULL)'
_CLAIM = """INSERT INTO {} SELECT key, now() + interval '10 s'
FROM unnest(string_to_array($1, chr(10))) key ON CONFLICT DO NOTHING RETURNING key"""
"""Keys as lines of one text: the driver looks at each item of an array by itself."""


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
            headers = [(name, value.encode()) for name, value in HEADERS.items()]
            batch.append(key=key, value=body, timestamp=None, headers=headers)
        await (await producer.send_batch(batch, topic, partition=first // BATCH % PARTITIONS))

    published = await two_at_a_time(publish, n)
    await producer.stop()
    return published


@asynccontextmanager
async def _consumer(
    address: str, database: str, topic: str
) -> AsyncIterator[tuple[AIOKafkaConsumer, Callable[[list[str]], Awaitable[list[Any]]]]]:
    """A consumer with partitions, and what claims keys: a statement and nothing else, which a pool
    of the driver would follow up by a question of its own."""
    settings = {"synchronous_commit": "off"}
    link = await asyncpg.connect(database, server_settings=settings)
    await link.execute(_TABLE.format(topic))
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=address,
        group_id=topic,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    while not consumer.assignment():  # noqa: ASYNC110 - the library tells nobody
        await asyncio.sleep(REST)

    async def claim(keys: list[str]) -> list[Any]:
        found: list[Any] = await link.fetch(_CLAIM.format(topic), "\n".join(keys))
        return found

    try:
        yield consumer, claim
    finally:
        await consumer.stop()
        await link.execute(f"DROP TABLE {topic}")
        await link.close()


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
            await asyncio.sleep(REST)
            headers = [(name, value.encode()) for name, value in HEADERS.items()]
            started = time.perf_counter()
            await producer.send_and_wait(topic, body, key=b"m%d" % number, headers=headers)
            some = await coming
            await claim([each.key.decode() for records in some.values() for each in records])
            await consumer.commit()
            found.append(time.perf_counter() - started)
    await producer.stop()
    await _end(admin, topic)
    return found
