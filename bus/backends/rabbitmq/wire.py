"""Messages as RabbitMQ carries them: properties and headers. Pure."""

import secrets
from dataclasses import dataclass
from math import isfinite
from typing import Any

from pamqp.commands import Basic

from bus.backend import NORMAL, Lane, Message
from bus.backends.rabbitmq.names import key_of, parted

ID = "muster.id"
NONCE = "muster.nonce"
ROUTE = "muster.route"
"""The routing key, on a message that did not come through the exchange."""

GROUP = "muster.group"
SENT = "muster.sent"
_OURS = frozenset({ID, NONCE, ROUTE, GROUP, SENT})


@dataclass(frozen=True, slots=True)
class Received:
    """What a delivery says. `key` and `nonce`: as parking claims them; both are new at each
    hand-over for a message of a client that gave none."""

    message: Message
    key: str
    nonce: int
    sent: float


def properties(message: Message, now: float) -> Basic.Properties:
    """Of one publish, at the epoch second `now`: another time they differ."""
    nonce = secrets.randbits(62) + 1
    headers: dict[str, Any] = dict(message.headers)
    headers[ID] = message.id
    headers[NONCE] = str(nonce)
    headers[SENT] = f"{now:.3f}"
    if message.group is not None:
        headers[GROUP] = message.group
        headers[ROUTE] = key_of(message.lane, message.topic)
    return Basic.Properties(
        delivery_mode=2, message_id=f"{nonce:x}", content_type=None, headers=headers
    )


def received(raw: Any, now: float) -> Received:
    """The message of a delivery `raw` of the client library."""
    given = raw.header.properties.headers or {}
    headers = {str(k): _text(v) for k, v in given.items() if k not in _OURS}
    lane, topic = parted(_text(given.get(ROUTE) or raw.delivery.routing_key)) or (
        NORMAL,
        str(raw.delivery.routing_key),
    )
    group = _text(given[GROUP]) if GROUP in given else None
    nonce = _text(given.get(NONCE, ""))
    if not (nonce.isascii() and nonce.isdigit()) or ID not in given:
        return _foreign(raw, headers, lane, topic, now)
    message = Message(_id(given[ID]), 0, topic, raw.body, headers, lane, 0.0, group)
    return Received(message, message.key(), int(nonce) & (2**63 - 1), _seconds(given, now))


def _foreign(raw: Any, headers: dict[str, str], lane: Lane, topic: str, now: float) -> Received:
    id_ = _id(raw.header.properties.message_id or "")
    message = Message(id_, 0, topic, raw.body, headers, lane)
    nonce = secrets.randbits(62) + 1
    return Received(message, f"{nonce:x}/foreign/{id_}", nonce, now)


def _seconds(headers: dict[str, Any], now: float) -> float:
    try:
        sent = float(headers.get(SENT, now))
    except ValueError:
        return now
    return min(sent, now) if isfinite(sent) else now


def _id(value: object) -> str:
    """Of whoever published it: the one character that the bus database cannot keep is replaced."""
    return _text(value).replace("\0", "\N{REPLACEMENT CHARACTER}")


def _text(value: object) -> str:
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "replace")
    return str(value)
