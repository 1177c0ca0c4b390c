"""What programs put into the ingress of a fleet on Kafka that know no groups."""

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bus.backend import Delivery
from bus.backends.choice import open_parts
from bus.backends.kafka import ingress
from bus.backends.kafka.backend import KafkaBackend
from bus.backends.kafka.names import INGRESS
from bus.opening import Parts, Terms
from contracts.clock import SystemClock
from tests.bus.conformance.steps import ORDER
from tests.kafka_server import KafkaServer

pytestmark = pytest.mark.kafka

SECONDS = 45.0


@asynccontextmanager
async def opened(
    server: KafkaServer, fleet: str, *, lease: float = 1.5, slices: int = 1
) -> AsyncIterator[tuple[KafkaBackend, Parts]]:
    """A connection of a fleet."""
    clock, database = SystemClock(), server.database
    terms = Terms(
        url=server.url, fleet=fleet, clock=clock, lease=lease, database=database, slices=slices
    )
    parts = await open_parts(terms)
    assert isinstance(parts.backend, KafkaBackend)
    try:
        yield parts.backend, parts
    finally:
        await parts.backend.close()
        await parts.store.close()
        await parts.close()


class Outside:
    """A plain producer."""

    def __init__(self, server: KafkaServer, producer: AIOKafkaProducer) -> None:
        self.fleet = f"t{uuid.uuid4().hex[:12]}"
        self.server = server
        self._producer = producer

    async def put(self, headers: Mapping[str, str], body: object = None) -> None:
        """One record, once there is the topic."""
        sent = [(name, value.encode()) for name, value in headers.items()]
        value = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self._producer.send_and_wait(f"muster.{self.fleet}.in", value, headers=sent)

    async def there(self) -> None:
        """Wait for the topic, which the fleet makes."""
        async with asyncio.timeout(SECONDS):
            while not await self._producer.partitions_for(f"muster.{self.fleet}.in"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


@pytest.fixture
async def outside(kafka_server: KafkaServer) -> AsyncIterator[Outside]:
    """Of a fleet of this test."""
    servers = kafka_server.url.removeprefix("kafka://")
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", metadata_max_age_ms=200)
    await producer.start()
    yield Outside(kafka_server, producer)
    await producer.stop()


async def got(backend: KafkaBackend, count: int, group: str = "g") -> list[Delivery]:
    """So many, settled, and no more."""
    found: list[Delivery] = []
    async with asyncio.timeout(SECONDS):
        while len(found) < count:
            part = await backend.pull(group, ORDER, limit=100, wait=0.5)
            await backend.settle(part)
            found += part
    assert len(found) == count
    assert await backend.pull(group, ORDER, limit=100, wait=0.2) == []
    return found


async def test_a_task_is_routed_to_every_group_that_wants_it(outside: Outside) -> None:
    """In binary mode, in structured mode; by priority and tenant; once for one id."""
    event = {"specversion": "1.0", "id": "b", "source": "/shop", "type": "work.b", "data": {"n": 1}}
    event |= {"mustertenant": "acme", "musterpriority": "high"}
    async with opened(outside.server, outside.fleet, slices=2) as (backend, _):
        await backend.bind("g", ["work.#"])
        await backend.bind("h", ["work.a"])
        await backend.pull("g", ORDER, limit=1, wait=0)
        await outside.there()
        for _ in range(2):
            named = {"ce_id": "a", "ce_type": "work.a", "ce_source": "/ä", "ce_specversion": "1.0"}
            await outside.put(named, {"n": 2})
        await outside.put({"content-type": "application/cloudevents+json"}, event)
        await outside.put({"ce_type": "work.c"})
        lanes = [*ORDER, *(type(lane)(lane.name, 1) for lane in ORDER)]
        found: dict[str, Delivery] = {}
        async with asyncio.timeout(SECONDS):
            while len(found) < 3:
                part = await backend.pull("g", lanes, limit=9, wait=0.5)
                found |= {each.message.topic: each for each in part}
        assert found["work.a"].message.headers["ce-source"] == "/%C3%A4"
        assert (found["work.a"].message.id, found["work.a"].message.body) == ("a", b'{"n": 2}')
        assert json.loads(found["work.b"].message.body) == {"n": 1}
        assert found["work.b"].message.lane.name == "high"
        assert found["work.c"].message.id.startswith("in-")
        (only,) = await got(backend, 1, "h")
        assert only.message.id == "a"


async def test_what_nobody_wants_is_parked_until_somebody_does(outside: Outside) -> None:
    """What is no task stays for who looks; the doctor tells of both."""
    async with opened(outside.server, outside.fleet) as (backend, parts):
        await backend.bind("g", ["other.#"])
        await backend.pull("g", ORDER, limit=1, wait=0)
        await outside.there()
        await outside.put({"ce_type": "work.a", "ce_id": "late"}, {"n": 1})
        await outside.put({"ce_type": "no topic!"})
        await outside.put({"ce_type": "other.x"}, b'"' + b"x" * (900 * 1024) + b'"')
        await outside.put({"ce_type": "other.x", "ce_id": "other"})
        assert [each.message.id for each in await got(backend, 1)] == ["other"]
        async with asyncio.timeout(SECONDS):
            while not (parked := [d for d in await dangers(parts) if d.startswith("3 ")]):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert "work.a" in parked[0]
        async with opened(outside.server, outside.fleet) as (other, _):
            await other.bind("h", ["work.#"])
            (found,) = await got(other, 1, "h")
            assert (found.message.id, found.message.body) == ("late", b'{"n": 1}')


async def dangers(parts: Parts) -> list[str]:
    """What is said of the ingress."""
    return [d.said for d in (await parts.examine()).dangers or () if d.name == "ingress"]


async def test_one_goes_on_where_another_was_killed(outside: Outside) -> None:
    """It had read them, and lets go of nothing."""
    async with opened(outside.server, outside.fleet) as (backend, _):
        await backend.bind("g", ["work.#"])
        async with opened(outside.server, outside.fleet) as (first, parts):
            await first.pull("g", ORDER, limit=1, wait=0)
            await outside.there()
            await parts.close()  # nobody is told that it has gone
            for number in range(50):
                await outside.put({"ce_type": "work.a", "ce_id": str(number)})
        found = await got(backend, 50)
        assert {each.message.id for each in found} == {str(number) for number in range(50)}


_READER = """
import asyncio, sys
from bus.backend import RETRY
from bus.backends.choice import open_parts
from bus.backends.kafka import ingress
from bus.opening import Terms
from contracts.clock import SystemClock

async def main(url, database, fleet):
    clock = SystemClock()
    terms = Terms(url=url, fleet=fleet, clock=clock, lease=1.5, database=database)
    parts = await open_parts(terms)
    await parts.backend.pull("g", (RETRY,), limit=1, wait=60)

ingress.TERM = 2.0
asyncio.run(main(*sys.argv[1:]))
"""
"""A process that routes and takes nothing."""


async def test_a_process_that_is_killed_while_it_routes_loses_and_doubles_nothing(
    outside: Outside, happened: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingress, "TERM", 2.0)
    count = 1_500
    async with opened(outside.server, outside.fleet) as (backend, _):
        await backend.bind("g", ["work.#"])
        server = outside.server
        arguments = ("-c", _READER, server.url, server.database or "", outside.fleet)
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
        await outside.there()
        puts = [
            outside.put({"ce_type": "work.a", "ce_id": str(n)}, "x" * 500) for n in range(count)
        ]
        putting = asyncio.gather(*puts)
        async with asyncio.timeout(SECONDS):
            while not await waiting(backend, "g"):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.002)
        process.kill()
        await process.wait()
        routed = await waiting(backend, "g")
        await putting
        found = await got(backend, count)
        assert sorted(each.message.id for each in found) == sorted(map(str, range(count)))
        assert await waiting(backend, INGRESS) == 0
    happened(f"killed when {routed:,} of {count:,} were routed")
    assert routed < count


async def waiting(backend: KafkaBackend, group: str) -> int:
    """What waits for a group."""
    lags = (await backend.lag(group)).values()
    return sum((lag.waiting or 0) + (lag.leased or 0) for lag in lags)


async def test_a_topic_that_was_there_is_taken_as_it_is(outside: Outside) -> None:
    """Its records too; it gets partitions until their number is one of ours."""
    topic = f"muster.{outside.fleet}.in"
    admin = AIOKafkaAdminClient(bootstrap_servers=outside.server.url.removeprefix("kafka://"))
    await admin.start()
    await admin.create_topics([NewTopic(topic, 5, 1)])
    await outside.there()
    for number in range(20):
        await outside.put({"ce_type": "work.a", "ce_id": str(number)})
    async with opened(outside.server, outside.fleet) as (backend, _):
        await backend.bind("g", ["work.#"])
        assert len(await got(backend, 20)) == 20
        (described,) = await admin.describe_topics([topic])
        assert len(described["partitions"]) == 6
    await admin.close()
