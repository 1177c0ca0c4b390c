"""Raw `nats-py` at its best: what `muster bench` measures the NATS backend against.

No muster code. The same server settings, stream kind, batch sizes, seven headers and message ids
as the backend has, through the public methods of the client only.
"""

import asyncio
import json
import time
import uuid
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from tests.bench.batches import BATCH, HEADERS, PULL, REST

_HEADERS = {k: v for k, v in HEADERS.items() if k != "ce-id"}


async def publish(url: str, n: int, size: int = 500) -> float:
    """Messages per second through atomic batches, two under way: the next is formatted and sent
    while the server syncs the one before."""
    client, stream = await _stream(url)
    body = b"x" * size
    started = time.perf_counter()
    waiting: list[asyncio.Future[Msg]] = []
    for start in range(0, n, BATCH):
        batch = _batch(client, stream, start, min(BATCH, n - start), body)
        waiting.append(asyncio.ensure_future(batch))
        await asyncio.sleep(0)
        if len(waiting) > 1:
            _check(await waiting.pop(0))
    for last in waiting:
        _check(await last)
    rate = n / (time.perf_counter() - started)
    await _end(client, stream)
    return rate


async def consume(url: str, n: int, size: int = 500) -> float:
    """Messages per second with own pull requests, renewed when half of one has come, `+ACK` by
    publish and one answered `+ACK` per batch."""
    client, stream = await _stream(url)
    body = b"x" * size
    for start in range(0, n, BATCH):
        _check(await _batch(client, stream, start, min(BATCH, n - start), body))
    finished = asyncio.Event()
    inbox, ask = client.new_inbox(), f"$JS.API.CONSUMER.MSG.NEXT.{stream}.c"
    request = json.dumps({"batch": PULL, "expires": 10_000_000_000}).encode()
    barriers: list[asyncio.Task[Msg]] = []
    got = 0

    async def on_message(message: Msg) -> None:
        nonlocal got
        if not message.reply:
            return
        got += 1
        if got % PULL == PULL // 2:
            await client.publish(ask, request, reply=inbox)
        if got % PULL == 0 or got == n:
            barriers.append(asyncio.create_task(client.request(message.reply, b"+ACK", timeout=10)))
        else:
            await client.publish(message.reply, b"+ACK")
        if got == n:
            finished.set()

    await client.subscribe(inbox, cb=on_message)
    started = time.perf_counter()
    await client.publish(ask, request, reply=inbox)
    await finished.wait()
    await asyncio.gather(*barriers)
    rate = n / (time.perf_counter() - started)
    await _end(client, stream)
    return rate


async def latency(url: str, n: int, size: int = 500) -> list[float]:
    """Seconds from the call of publish to delivery, `n` times, with a waiting pull request, on
    one connection without other load."""
    client, stream = await _stream(url)
    body = b"x" * size
    inbox, ask = client.new_inbox(), f"$JS.API.CONSUMER.MSG.NEXT.{stream}.c"
    request = json.dumps({"batch": 1, "expires": 10_000_000_000}).encode()
    came: asyncio.Queue[tuple[float, Msg]] = asyncio.Queue()

    async def on_message(message: Msg) -> None:
        came.put_nowait((time.perf_counter(), message))

    await client.subscribe(inbox, cb=on_message)
    found: list[float] = []
    for number in range(n):
        await client.publish(ask, request, reply=inbox)
        await client.flush()
        await asyncio.sleep(REST)
        headers = {**_HEADERS, "ce-id": f"m{number}", "Nats-Msg-Id": f"m{number}"}
        started = time.perf_counter()
        await client.request(f"{stream}.t", body, headers=headers, timeout=10)
        arrived, message = await came.get()
        found.append(arrived - started)
        await client.request(message.reply, b"+ACK", timeout=10)
    await _end(client, stream)
    return found


async def _stream(url: str) -> tuple[Client, str]:
    """A connection, and a stream with one durable pull consumer `c`. Limits retention: with
    interest or work-queue retention each acknowledgement costs a sync, 3 k/s."""
    client = await nats.connect(url)
    stream = f"RAW{uuid.uuid4().hex[:8]}"
    config = {
        "name": stream,
        "subjects": [f"{stream}.>"],
        "retention": "limits",
        "storage": "file",
        "allow_atomic": True,
        "discard": "new",
        "duplicate_window": 120_000_000_000,
        "num_replicas": 1,
    }
    await _api(client, f"STREAM.CREATE.{stream}", config)
    consumer = {
        "durable_name": "c",
        "ack_policy": "explicit",
        "ack_wait": 30_000_000_000,
        "max_ack_pending": -1,
        "filter_subject": f"{stream}.>",
    }
    body = {"stream_name": stream, "config": consumer}
    await _api(client, f"CONSUMER.CREATE.{stream}.c", body)
    return client, stream


async def _batch(client: Client, stream: str, start: int, count: int, body: bytes) -> Msg:
    """One atomic batch; its commit is the request that is answered."""
    batch, subject = f"b{start}", f"{stream}.t"
    for number in range(1, count):
        await client.publish(subject, body, headers=_headers(batch, number, start))
    headers = {**_headers(batch, count, start), "Nats-Batch-Commit": "1"}
    return await client.request(subject, body, headers=headers, timeout=30)


def _headers(batch: str, number: int, start: int) -> dict[str, str]:
    id_ = f"m{start + number}"
    return {
        **_HEADERS,
        "ce-id": id_,
        "Nats-Msg-Id": id_,
        "Nats-Batch-Id": batch,
        "Nats-Batch-Sequence": str(number),
    }


def _check(answer: Msg) -> None:
    found = json.loads(answer.data)
    if "error" in found:
        raise RuntimeError(f"raw publish failed: {found}")


async def _api(client: Client, name: str, body: Any = None) -> None:
    payload = b"" if body is None else json.dumps(body).encode()
    answer = await client.request(f"$JS.API.{name}", payload, timeout=10)
    _check(answer)


async def _end(client: Client, stream: str) -> None:
    await _api(client, f"STREAM.DELETE.{stream}")
    await client.close()
