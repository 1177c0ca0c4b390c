"""A connection of a fleet on Kafka, as the tests of its backend have it."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.record._crecords.cutil import crc32c_cython
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from bus.backend import Backend, Delivery
from bus.backends.choice import open_parts
from bus.backends.kafka.backend import KafkaBackend
from bus.errors import Unreachable
from bus.opening import Parts, Terms
from contracts.clock import SystemClock
from tests.bus.conformance.steps import ORDER
from tests.kafka_server import KafkaServer

LEASE = 1.5


@asynccontextmanager
async def connected(
    server: KafkaServer, fleet: str, **given: Any
) -> AsyncIterator[tuple[KafkaBackend, Parts]]:
    """A connection of a fleet with the group `g`."""
    terms = Terms(
        url=given.pop("url", server.url),
        fleet=fleet,
        clock=SystemClock(),
        lease=given.pop("lease", LEASE),
        database=given.pop("database", server.database),
        **given,
    )
    parts = await open_parts(terms)
    assert isinstance(parts.backend, KafkaBackend)
    await parts.backend.bind("g", ["work.#"])
    try:
        yield parts.backend, parts
    finally:
        await parts.backend.close()
        await parts.store.close()
        await parts.close()


async def gather(backend: Backend, count: int, seconds: float = 10.0) -> list[Delivery]:
    """Pull until so many came."""
    found: list[Delivery] = []
    async with asyncio.timeout(seconds):
        while len(found) < count:
            try:
                found += await backend.pull("g", ORDER, limit=count - len(found), wait=1.0)
            except Unreachable:
                await asyncio.sleep(0.05)
    return found


def foreign(*headers: tuple[str, bytes | None], codec: int = 0, count: int = 1) -> bytes:
    """A batch as another client may write it: a capital X in a header's name becomes a byte that
    UTF-8 does not know."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 20)
    for number in range(count):
        builder.append(number, 7, b"k%d" % number, b"v" * number, list(headers))
    batch = bytearray(builder.build())
    if codec == 0:
        batch = batch.replace(b"X", b"\xff")
        struct.pack_into(">I", batch, 17, crc32c_cython(bytes(batch[21:])))
    return bytes(batch)
