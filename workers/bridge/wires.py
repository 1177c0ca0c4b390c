"""What each kind of broker needs of FastStream, one function each.

Nothing is created outside but a consumer or group of the bridge's own name: streams, topics and
queues have to be there.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from pydantic_core import to_json

from contracts.errors import InvalidValue
from workers.bridge.messages import Arrived
from workers.bridge.places import Place
from workers.bridge.wire import SIGN_EVERY, Wire

_AT_ONCE = 200
"""Messages that are taken at once: they are published together."""

_SEND = 5.0
"""Seconds a broker is given to answer for one message."""

_ACK_WAIT = 3 * SIGN_EVERY
"""Seconds after which NATS gives a message to another that nobody has answered for."""

_CLAIM_AFTER = 60_000
"""Milliseconds after which what a dead bridge held on a Redis stream is taken by another."""

_BODY = "data"
"""The field of a Redis stream's entry that is the body; the others are headers."""


async def _whole(message: Any) -> Any:
    """Leave a message as it is: what it means is not FastStream's to say."""
    return message


_SAME: Mapping[str, Any] = MappingProxyType(
    {"apply_types": False, "decoder": _whole, "serializer": None, "logger": None}
)


def _arrived(message: Any, own_id: str) -> Arrived:
    headers = {str(name): _text(value) for name, value in message.headers.items()}
    if message.content_type and "content-type" not in {name.lower() for name in headers}:
        headers["content-type"] = message.content_type
    return Arrived(body=bytes(message.body), headers=headers, own_id=own_id)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def nats(place: Place, group: str) -> Wire:
    """JetStream where `?stream=` names one, else core NATS, which keeps nothing."""
    from faststream.nats import NatsBroker

    again: dict[str, Any] = {"max_reconnect_attempts": -1, "reconnect_time_wait": 1}
    broker: Any = NatsBroker(place.server, **again, **_SAME)
    stream = place.options.get("stream")
    kept = _kept(stream, place.options.get("durable", group)) if stream else {"queue": group}

    def own_id(message: Any) -> str:
        if not stream:
            return ""
        named = message.headers.get("Nats-Msg-Id", "")
        sequence = message.raw_message.metadata.sequence.stream
        return f"{place.name} {named}" if named else f"{stream} {sequence}"

    async def abandon() -> None:
        await broker.connection.close()

    def send(headers: dict[str, str], body: bytes, event: str) -> Any:
        known = {"Nats-Msg-Id": event} if stream else {}
        to: dict[str, Any] = {"subject": place.name, "stream": stream, "timeout": _SEND}
        return broker.publish(body, headers={**headers, **known}, **to)

    return Wire(
        broker=broker,
        subscribe=lambda: [broker.subscriber(place.name, no_reply=True, **kept)],
        read=lambda message: _arrived(message, own_id(message)),
        send=send,
        prefix="ce-",
        abandon=abandon,
    )


def _kept(stream: str, durable: str) -> dict[str, Any]:
    """How a stream is read: by a durable consumer, which begins with what is there."""
    from faststream import AckPolicy
    from faststream.nats import JStream, PullSub
    from nats.js.api import ConsumerConfig

    return {
        "stream": JStream(stream, declare=False),
        "durable": durable,
        "config": ConsumerConfig(ack_wait=_ACK_WAIT),
        "pull_sub": PullSub(batch_size=_AT_ONCE, timeout=1.0),
        "ack_policy": AckPolicy.MANUAL,
    }


def kafka(place: Place, group: str) -> Wire:
    """A consumer group that begins with what is there; acknowledged by everybody in sync."""
    from faststream import AckPolicy
    from faststream.kafka import KafkaBroker

    servers = urlsplit(place.server).netloc
    if "@" in servers:
        raise InvalidValue(
            "a bridge cannot give Kafka a password yet",
            details=f"the address of {place.shown} has one",
            actions=("use a listener without one, on a network you trust",),
        )
    broker: Any = KafkaBroker(servers, acks="all", **_SAME)
    member: dict[str, Any] = {
        "group_id": place.options.get("group", group),
        "auto_offset_reset": "earliest",
    }

    def own_id(message: Any) -> str:
        record = message.raw_message
        return f"{record.topic} {record.partition} {record.offset}"

    return Wire(
        broker=broker,
        subscribe=lambda: [
            broker.subscriber(place.name, ack_policy=AckPolicy.MANUAL, no_reply=True, **member)
        ],
        read=lambda message: _arrived(message, own_id(message)),
        send=lambda headers, body, event: broker.publish(
            body, topic=place.name, key=event.encode(), headers=headers
        ),
        prefix="ce_",
    )


def rabbit(place: Place, _group: str) -> Wire:
    """A queue that is there already, whatever its arguments; published with confirms. A message
    without an id of its publisher's has no name: coming twice, it is two tasks."""
    from faststream import AckPolicy
    from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

    broker: Any = RabbitBroker(
        place.server, default_channel=Channel(prefetch_count=_AT_ONCE), **_SAME
    )
    queue = RabbitQueue(place.name, declare=False)

    def own_id(message: Any) -> str:
        named = message.raw_message.message_id
        return f"{place.name} {named}" if named else ""

    def send(headers: dict[str, str], body: bytes, event: str) -> Any:
        kind = headers.pop("content-type")
        to: dict[str, Any] = {
            "queue": place.name,
            "persist": True,
            "timeout": _SEND,
            "message_id": event,
        }
        return broker.publish(body, headers=headers, content_type=kind, **to)

    return Wire(
        broker=broker,
        subscribe=lambda: [broker.subscriber(queue, ack_policy=AckPolicy.MANUAL, no_reply=True)],
        read=lambda message: _arrived(message, own_id(message)),
        send=send,
        prefix="cloudEvents_",
    )


def redis(place: Place, group: str) -> Wire:
    """A stream, whose entries hold the body in the field `data` and headers in the others; an entry
    without it is taken as an object of its fields. One reader takes what is new, one what a dead
    bridge has left."""
    from faststream import AckPolicy
    from faststream.redis import RedisBroker, StreamSub

    broker: Any = RedisBroker(place.server, **_SAME)
    member: dict[str, Any] = {"group": place.options.get("group", group), "consumer": group}

    def subscribe() -> list[Any]:
        new = StreamSub(place.name, last_id=">", **member)
        left = StreamSub(place.name, min_idle_time=_CLAIM_AFTER, **member)
        how: dict[str, Any] = {"ack_policy": AckPolicy.MANUAL, "no_reply": True}
        return [broker.subscriber(stream=stream, **how) for stream in (new, left)]

    def read(message: Any) -> Arrived:
        own_id = f"{place.name} {_text(message.raw_message['message_ids'][0])}"
        fields = message.raw_message["data"]
        if b"__data__" in fields:  # of a publisher that is FastStream itself
            return _arrived(message, own_id)
        headers = {_text(name): _text(value) for name, value in fields.items()}
        if _BODY not in headers:
            return Arrived(body=to_json(headers), headers={}, own_id=own_id)
        body = fields[_BODY.encode()]
        del headers[_BODY]
        return Arrived(body=body, headers=headers, own_id=own_id)

    async def send(headers: dict[str, str], body: bytes, _event: str) -> None:
        client: Any = await broker.connect()
        await client.xadd(place.name, {**headers, _BODY: body})

    return Wire(broker=broker, subscribe=subscribe, read=read, send=send, prefix="ce-")


WIRES: Mapping[str, Callable[[Place, str], Wire]] = MappingProxyType(
    {
        "nats": nats,
        "tls": nats,
        "kafka": kafka,
        "amqp": rabbit,
        "amqps": rabbit,
        "redis": redis,
        "rediss": redis,
    }
)
"""What speaks to which broker."""
