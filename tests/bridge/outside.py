"""Brokers of somebody else's, by their plain clients: what a bridge has to get on with."""

import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol
from urllib.parse import urlsplit

import aio_pika
import nats
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis.asyncio import Redis

Told = tuple[dict[str, str], bytes]
"""Headers, and a body."""

SECONDS = 20.0


class Outside(Protocol):
    """A place on a broker. `name`: of it there; `place`: its URL, as bridges take it."""

    name: str
    place: str

    async def put(self, body: bytes, headers: Mapping[str, str] = {}) -> None:
        """One message; returns when it is safe there."""
        ...

    async def heard(self, count: int) -> list[Told]:
        """The first so many messages of the place."""
        ...

    async def left(self, group: str) -> int:
        """Messages that the bridge of this group has not answered for."""
        ...


class OnRedis:
    """A stream."""

    def __init__(self, url: str, client: Any) -> None:
        self.name = f"orders-{secrets.token_hex(4)}"
        self._client = client
        self.place = f"{url}/{self.name}"

    async def begin(self, group: str) -> None:
        """Let a bridge begin with what is there already."""
        await self._client.xgroup_create(self.name, group, id="0", mkstream=True)

    async def put(self, body: bytes, headers: Mapping[str, str] = {}) -> None:
        """See `Outside`."""
        await self._client.xadd(self.name, {**headers, "data": body})

    async def heard(self, count: int) -> list[Told]:
        """See `Outside`."""
        found: list[Any] = []
        last = b"0"
        while len(found) < count:
            ((_, more),) = await self._client.xread({self.name: last}, block=int(SECONDS * 1000))
            found += more
            last = more[-1][0]
        return [_told(fields, fields.pop(b"data")) for _, fields in found]

    async def left(self, group: str) -> int:
        """See `Outside`."""
        (info,) = await self._client.xinfo_groups(self.name)
        assert info["name"].decode() == group
        return int(info["pending"] + (info["lag"] or 0))


class OnKafka:
    """A topic of one partition."""

    def __init__(self, url: str, producer: AIOKafkaProducer) -> None:
        self.name = f"orders-{secrets.token_hex(4)}"
        self._servers = urlsplit(url).netloc
        self._producer = producer
        self.place = f"{url}/{self.name}"

    async def begin(self, _group: str) -> None:
        """Make the topic."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._servers)
        await admin.start()
        await admin.create_topics([NewTopic(self.name, 1, 1)])
        await admin.close()

    async def put(self, body: bytes, headers: Mapping[str, str] = {}) -> None:
        """See `Outside`."""
        named = [(name.replace("ce-", "ce_"), value.encode()) for name, value in headers.items()]
        await self._producer.send_and_wait(self.name, body, headers=named)

    async def heard(self, count: int) -> list[Told]:
        """See `Outside`."""
        reader = AIOKafkaConsumer(
            self.name, bootstrap_servers=self._servers, auto_offset_reset="earliest"
        )
        await reader.start()
        try:
            found = [await reader.getone() for _ in range(count)]
        finally:
            await reader.stop()
        return [_told(dict(each.headers), each.value) for each in found]

    async def left(self, group: str) -> int:
        """See `Outside`."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._servers)
        reader = AIOKafkaConsumer(self.name, bootstrap_servers=self._servers)
        await admin.start()
        await reader.start()
        try:
            ends = await reader.end_offsets(reader.assignment())
            done = await admin.list_consumer_group_offsets(group)
            return sum(
                end - (done[place].offset if place in done else 0) for place, end in ends.items()
            )
        finally:
            await reader.stop()
            await admin.close()


class OnRabbit:
    """A durable queue. A young quorum queue does not survive a broker that is killed."""

    def __init__(self, url: str, channel: Any) -> None:
        self.name = f"orders-{secrets.token_hex(4)}"
        self._channel = channel
        self._taken: list[Told] = []
        self.place = f"{url.rstrip('/')}/{self.name}"

    async def begin(self, _group: str) -> None:
        """Make the queue."""
        await self._channel.declare_queue(self.name, durable=True)

    async def put(self, body: bytes, headers: Mapping[str, str] = {}) -> None:
        """See `Outside`."""
        named = {name.replace("ce-", "cloudEvents:"): value for name, value in headers.items()}
        kind = named.pop("content-type", None)
        message = aio_pika.Message(
            body,
            headers=dict(named),
            content_type=kind,
            message_id=secrets.token_hex(8),
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await self._channel.default_exchange.publish(message, routing_key=self.name)

    async def heard(self, count: int) -> list[Told]:
        """See `Outside`; a queue gives each once, so that they are kept here."""
        queue = await self._channel.get_queue(self.name)
        async with queue.iterator() as messages:
            while len(self._taken) < count:
                each = await anext(messages)
                await each.ack()
                headers = {**each.headers, "content-type": each.content_type}
                self._taken.append(_told(headers, each.body))
        return self._taken[:count]

    async def left(self, _group: str) -> int:
        """See `Outside`: what is in somebody's hands is not counted by RabbitMQ for clients, so
        nobody may be connected any more."""
        queue = await self._channel.declare_queue(self.name, passive=True)
        return int(queue.declaration_result.message_count or 0)


class OnNats:
    """A subject of a JetStream stream."""

    def __init__(self, url: str, js: Any) -> None:
        self.name = f"ORDERS-{secrets.token_hex(4)}"
        self._js = js
        self.place = f"{url}/{self.name}.new?stream={self.name}"

    async def begin(self, _group: str) -> None:
        """Make the stream."""
        await self._js.add_stream(name=self.name, subjects=[f"{self.name}.>"])

    async def put(self, body: bytes, headers: Mapping[str, str] = {}) -> None:
        """See `Outside`."""
        await self._js.publish(f"{self.name}.new", body, headers=dict(headers))

    async def heard(self, count: int) -> list[Told]:
        """See `Outside`."""
        reader = await self._js.subscribe(f"{self.name}.new", ordered_consumer=True)
        found = [await reader.next_msg(SECONDS) for _ in range(count)]
        return [_told(each.headers or {}, each.data) for each in found]

    async def left(self, group: str) -> int:
        """See `Outside`."""
        info = await self._js.consumer_info(self.name, group)
        return int(info.num_pending + info.num_ack_pending)


def _told(headers: Mapping[Any, Any], body: bytes) -> Told:
    """With attributes as HTTP has them."""
    named = {_text(name): _text(value) for name, value in headers.items()}
    for prefix in ("ce_", "cloudEvents_", "cloudEvents:"):
        named = {name.replace(prefix, "ce-"): value for name, value in named.items()}
    return named, body


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@asynccontextmanager
async def _redis(url: str) -> AsyncIterator[OnRedis]:
    client: Any = Redis.from_url(url)
    yield OnRedis(url, client)
    await client.aclose()


@asynccontextmanager
async def _kafka(url: str) -> AsyncIterator[OnKafka]:
    producer = AIOKafkaProducer(bootstrap_servers=urlsplit(url).netloc, acks="all")
    await producer.start()
    yield OnKafka(url, producer)
    await producer.stop()


@asynccontextmanager
async def _rabbit(url: str) -> AsyncIterator[OnRabbit]:
    async with await aio_pika.connect(url) as connection:
        yield OnRabbit(url, await connection.channel())


@asynccontextmanager
async def _nats(url: str) -> AsyncIterator[OnNats]:
    client = await nats.connect(url)
    yield OnNats(url, client.jetstream())
    await client.close()


_KINDS: Mapping[str, Callable[[str], AbstractAsyncContextManager[Any]]] = {
    "redis": _redis,
    "rediss": _redis,
    "kafka": _kafka,
    "amqp": _rabbit,
    "nats": _nats,
    "tls": _nats,
}


@asynccontextmanager
async def outside(
    url: str, group: str = "bridge-test", *, again: Outside | None = None
) -> AsyncIterator[Outside]:
    """A new place on the broker at `url`, where a bridge of this group begins with the first
    message; or the one of before `again`, with connections of its own."""
    async with _KINDS[urlsplit(url).scheme](url) as made:
        if again is None:
            await made.begin(group)
        else:
            made.name, made.place = again.name, again.place
        yield made
