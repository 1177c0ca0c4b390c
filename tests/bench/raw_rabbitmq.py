"""Raw `aio-pika` at its best, which the RabbitMQ backend is measured against, side by side.

No muster code: a quorum queue behind a topic exchange, persistent messages, 500
confirms at once, a prefetch of two batches, one acknowledgement per batch. It goes through aiormq,
the layer below aio-pika, quicker than its `Exchange.publish` and `Queue.consume`. Beside it
one claim statement per batch in the same PostgreSQL, which RabbitMQ needs for messages to run once.
The same server settings, batch sizes and seven headers as the backend has.
"""

import asyncio
import time
import uuid
from collections import deque
from typing import Any

import aiormq
import asyncpg
from pamqp.commands import Basic

from tests.bench.batches import BATCH, HEADERS, PULL, REST, two_at_a_time

_CLAIMS = 'CREATE TABLE {} (key text COLLATE "C" PRIMARY KEY, at timestamptz DEFAULT now())'
_CLAIM = "INSERT INTO {} (key) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING RETURNING key"


async def raw(url: str, n: int, size: int = 500, *, database: str) -> tuple[float, float]:
    """Messages per second published, two batches under way, and consumed."""
    sending, receiving = await aiormq.connect(url), await aiormq.connect(url)
    sender = await sending.channel()
    name = await _queue(sender)
    body = b"x" * size

    async def publish(first: int) -> None:
        numbers = range(first, min(first + BATCH, n))
        await asyncio.gather(*(_put(sender, name, f"task-{k}", body) for k in numbers))

    published = await two_at_a_time(publish, n)
    claims = await _claims(database)
    await claims.execute(_CLAIMS.format(name))
    consumed = await _consume(await receiving.channel(), claims, name, n)
    await sender.exchange_delete(name)
    await sender.queue_delete(name)
    await claims.execute(f"DROP TABLE {name}")
    await claims.close()
    await sending.close()
    await receiving.close()
    return published, consumed


async def latency(url: str, database: str, n: int, size: int = 500) -> list[float]:
    """Seconds from the call of publish until a message is in the hands of a consumer that waits,
    and claimed, `n` times, without other load."""
    link, claims = await aiormq.connect(url), await _claims(database)
    sender, receiver = await link.channel(), await link.channel()
    name = await _queue(sender)
    await claims.execute(_CLAIMS.format(name))
    claim = await claims.prepare(_CLAIM.format(name))
    came: asyncio.Queue[Any] = asyncio.Queue()
    await receiver.basic_consume(name, came.put)
    found: list[float] = []
    for number in range(n):
        await asyncio.sleep(REST)
        started = time.perf_counter()
        await _put(sender, name, f"task-{number}", b"x" * size)
        message = await came.get()
        await claim.fetch([message.header.properties.headers["ce-id"]])
        found.append(time.perf_counter() - started)
        await receiver.basic_ack(message.delivery_tag, wait=False)
    await sender.queue_delete(name)
    await claims.execute(f"DROP TABLE {name}")
    await claims.close()
    await link.close()
    return found


async def _claims(database: str) -> Any:
    """A connection to the database as the backend has it: a claim that is lost is made again."""
    return await asyncpg.connect(database, server_settings={"synchronous_commit": "off"})


async def _queue(channel: Any) -> str:
    """A quorum queue behind a topic exchange of its name."""
    name = f"raw_{uuid.uuid4().hex[:8]}"
    await channel.exchange_declare(name, exchange_type="topic", durable=True)
    await channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
    await channel.queue_bind(name, name, "bench.#")
    return name


async def _put(channel: Any, name: str, id_: str, body: bytes) -> None:
    properties = Basic.Properties(
        delivery_mode=2, message_id=id_, headers={**HEADERS, "ce-id": id_}
    )
    await channel.basic_publish(
        body, exchange=name, routing_key="bench.noop", properties=properties, wait=False
    )


async def _consume(channel: Any, claims: Any, name: str, n: int) -> float:
    """Messages per second: while a batch is claimed the next one comes."""
    claim = await claims.prepare(_CLAIM.format(name))
    came: deque[Any] = deque()
    there = asyncio.Event()

    async def on_message(message: Any) -> None:
        came.append(message)
        there.set()

    await channel.basic_qos(prefetch_count=2 * PULL)
    started, got = time.perf_counter(), 0
    await channel.basic_consume(name, on_message)
    while got < n:
        await there.wait()
        batch = [came.popleft() for _ in range(min(PULL, len(came)))]
        if not came:
            there.clear()
        claimed = await claim.fetch([each.header.properties.headers["ce-id"] for each in batch])
        assert len(claimed) == len(batch)
        await channel.basic_ack(batch[-1].delivery_tag, multiple=True, wait=False)
        got += len(batch)
    await channel.basic_qos(prefetch_count=1)  # answered: it has heard all acknowledgements
    return n / (time.perf_counter() - started)
