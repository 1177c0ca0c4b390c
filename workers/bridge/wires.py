"""What each kind of broker needs of FastStream, one function each.

Nothing is created outside but a consumer or group of the bridge's own name: streams, topics and
queues have to be there.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from nats.errors import NoServersError

from bus.backends.kafka.address import parsed
from workers.bridge.knocking import Denied, knock
from workers.bridge.messages import Arrived
from workers.bridge.places import Place
from workers.bridge.stream import Stream
from workers.bridge.wire import SIGN_EVERY, Wire

_AT_ONCE = 200
"""Messages that are taken at once: they are published together."""

_SEND = 5.0
"""Seconds a broker is given to answer for one message."""

_UNSIGNED = 3 * SIGN_EVERY
"""Seconds after which a message is given to another that nobody has signed or answered for."""


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
    from faststream.security import BaseSecurity

    again: dict[str, Any] = {"max_reconnect_attempts": -1, "reconnect_time_wait": 1}
    context = place.context()
    trust: dict[str, Any] = {} if context is None else {"security": BaseSecurity(context)}
    broker: Any = NatsBroker(place.server, **again, **trust, **_SAME)
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
        sign=(lambda message: message.in_progress()) if stream else None,
        abandon=abandon,
        knock=lambda: knock(place.server, context),
        denials=(Denied,),
        absences=(NoServersError,),
    )


def _kept(stream: str, durable: str) -> dict[str, Any]:
    """How a stream is read: by a durable consumer, which begins with what is there."""
    from faststream import AckPolicy
    from faststream.nats import JStream, PullSub
    from nats.js.api import ConsumerConfig

    return {
        "stream": JStream(stream, declare=False),
        "durable": durable,
        "config": ConsumerConfig(ack_wait=_UNSIGNED),
        "pull_sub": PullSub(batch_size=_AT_ONCE, timeout=1.0),
        "ack_policy": AckPolicy.MANUAL,
    }


def kafka(place: Place, group: str) -> Wire:
    """A consumer group that begins with what is there; acknowledged by everybody in sync."""
    from faststream import AckPolicy
    from faststream.kafka import KafkaBroker

    from workers.bridge.kafka import ABSENCES, DENIALS, knock_at, security, servers

    login = place.options.get("login")
    address = parsed(f"{place.server}?login={login}" if login else place.server)
    who = security(address, place.context())
    broker: Any = KafkaBroker(
        servers(address),
        acks="all",
        security=who,
        allow_auto_create_topics=False,
        **_SAME,
    )
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
        knock=lambda: knock_at(address, who, place.name),
        denials=DENIALS,
        absences=ABSENCES,
    )


def rabbit(place: Place, _group: str) -> Wire:
    """A queue that is there already, whatever its arguments; published with confirms. A message
    without an id of its publisher's has no name: coming twice, it is two tasks."""
    from faststream import AckPolicy
    from faststream.rabbit import Channel, RabbitBroker, RabbitQueue
    from faststream.security import BaseSecurity

    from workers.bridge.amqp import DENIALS, Sender

    context = place.context()
    broker: Any = RabbitBroker(
        place.server,
        default_channel=Channel(prefetch_count=_AT_ONCE),
        security=BaseSecurity(context),
        **_SAME,
    )
    queue = RabbitQueue(place.name, declare=False)
    sender = Sender(place.server, place.name, context)

    def own_id(message: Any) -> str:
        named = message.raw_message.message_id
        return f"{place.name} {named}" if named else ""

    return Wire(
        broker=broker,
        subscribe=lambda: [broker.subscriber(queue, ack_policy=AckPolicy.MANUAL, no_reply=True)],
        read=lambda message: _arrived(message, own_id(message)),
        send=sender.send,
        prefix="cloudEvents_",
        alive=sender.alive,
        close=sender.close,
        knock=sender.knock,
        denials=DENIALS,
    )


def redis(place: Place, group: str) -> Wire:
    """A stream, whose entries hold the body in the field `data` and headers in the others; an entry
    without it is taken as an object of its fields. One reader takes what is new, one what a dead
    bridge has left."""
    from faststream import AckPolicy
    from faststream.redis import RedisBroker, StreamSub
    from faststream.security import BaseSecurity
    from redis import exceptions as theirs

    broker: Any = RedisBroker(place.server, security=BaseSecurity(place.context()), **_SAME)
    unsigned = int(_UNSIGNED * 1000)
    stream = Stream(broker.connect, place.name, place.options.get("group", group), group)
    member: dict[str, Any] = {"group": stream.group, "consumer": group}

    def subscribe() -> list[Any]:
        new = StreamSub(place.name, last_id=">", max_records=_AT_ONCE, **member)
        left = StreamSub(place.name, min_idle_time=unsigned, **member)
        how: dict[str, Any] = {"ack_policy": AckPolicy.MANUAL, "no_reply": True}
        return [broker.subscriber(stream=each, **how) for each in (new, left)]

    def read(message: Any) -> Arrived:
        found = stream.read(message)
        return found or _arrived(message, stream.own_id(message))

    return Wire(
        broker=broker,
        subscribe=subscribe,
        read=read,
        send=stream.send,
        prefix="ce-",
        give_back=lambda message: stream.idle(message, unsigned),
        sign=lambda message: stream.idle(message, 0),
        knock=stream.ping,
        denials=(theirs.AuthenticationError, theirs.AuthorizationError, theirs.NoPermissionError),
        absences=(theirs.ConnectionError, theirs.TimeoutError),
    )


WIRES: Mapping[str, Callable[[Place, str], Wire]] = MappingProxyType(
    {
        "nats": nats,
        "tls": nats,
        "kafka": kafka,
        "kafkas": kafka,
        "amqp": rabbit,
        "amqps": rabbit,
        "redis": redis,
        "rediss": redis,
    }
)
"""What speaks to which broker."""
