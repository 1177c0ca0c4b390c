"""Raw `aio-pika` at its best, which the RabbitMQ backend is measured against, side by side.

No muster code in the raw half: a quorum queue behind a topic exchange, persistent messages, 500
confirms at once, a prefetch of two batches, one acknowledgement per batch. It goes through aiormq,
the layer below aio-pika, quicker than its `Exchange.publish` and `Queue.consume`. Beside it
one claim statement per batch in the same PostgreSQL, which RabbitMQ needs for messages to run once.
The same server settings, batch sizes and seven headers as the backend has.
`python -m tests.bench.raw_rabbitmq` starts servers of its own and prints a table.
"""

import asyncio
import statistics
import sys
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiormq
import asyncpg
import uvloop
from pamqp.commands import Basic

from bus.backend import HIGH, LOW, NORMAL, RETRY, Message
from bus.backends.choice import open_parts
from bus.opening import Terms
from contracts.clock import SystemClock
from tests.rabbitmq_server import RabbitServer, running
from tests.servers import PostgresServer

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

    published = await _two_at_a_time(publish, n)
    claims = await asyncpg.connect(database, server_settings={"synchronous_commit": "off"})
    await claims.execute(_CLAIMS.format(name))
    consumed = await _consume(await receiving.channel(), claims, name, n)
    await sender.exchange_delete(name)
    await sender.queue_delete(name)
    await claims.execute(f"DROP TABLE {name}")
    await claims.close()
    await sending.close()
    await receiving.close()
    return published, consumed


async def latency(url: str, n: int, size: int = 500) -> list[float]:
    """Seconds from the call of publish to delivery, `n` times, with a waiting consumer, without
    other load and without a claim."""
    link = await aiormq.connect(url)
    sender, receiver = await link.channel(), await link.channel()
    name = await _queue(sender)
    came: asyncio.Queue[tuple[float, Any]] = asyncio.Queue()

    async def on_message(message: Any) -> None:
        came.put_nowait((time.perf_counter(), message))

    await receiver.basic_consume(name, on_message)
    found: list[float] = []
    for number in range(n):
        started = time.perf_counter()
        await _put(sender, name, f"task-{number}", b"x" * size)
        arrived, message = await came.get()
        found.append(arrived - started)
        await receiver.basic_ack(message.delivery_tag, wait=False)
    await sender.queue_delete(name)
    await link.close()
    return found


async def _queue(channel: Any) -> str:
    """A quorum queue behind a topic exchange of its name."""
    name = f"raw_{uuid.uuid4().hex[:8]}"
    await channel.exchange_declare(name, exchange_type="topic", durable=True)
    await channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
    await channel.queue_bind(name, name, "bench.#")
    return name


async def _put(channel: Any, name: str, id_: str, body: bytes) -> None:
    properties = Basic.Properties(
        delivery_mode=2, message_id=id_, headers={**_HEADERS, "ce-id": id_}
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


async def ours(url: str, n: int, size: int = 500, *, database: str) -> tuple[float, float]:
    """The same through the backend."""
    fleet = f"b{uuid.uuid4().hex[:10]}"
    parts = await open_parts(Terms(url=url, database=database, fleet=fleet, clock=SystemClock()))
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


async def measure(url: str, rounds: int, n: int, *, database: str) -> list[str]:
    """Raw and ours by turns; the ratios are of the same round."""
    lines, publish, consume = [], [], []
    for _ in range(rounds):
        theirs = await raw(url, n, database=database)
        mine = await ours(url, n, database=database)
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
    rounds, n = (int(word) for word in (sys.argv[1:] + ["7", "10000"][len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as folder:
        postgres = PostgresServer(Path(folder) / "state")
        postgres.start()
        server = RabbitServer(Path(folder) / "rabbitmq", postgres, postgres.url)
        try:
            with (
                running(server),
                asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
            ):
                table = measure(server.url, rounds, n, database=postgres.url)
                print(*runner.run(table), sep="\n")
        finally:
            postgres.stop()


if __name__ == "__main__":
    main()
