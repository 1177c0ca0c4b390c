"""Messages as they lie in Redis, and lanes as they are named there. Pure.

A payload is a JSON array `[id, copy, topic, headers, due, group]`, a zero byte, and the body: JSON
has no zero byte of its own.
"""

from functools import lru_cache

from pydantic_core import from_json, to_json

from bus.backend import Delivery, Lane, LaneName, Message

_END = b"\0"

_FIRST = b"/0"

Receipt = tuple[str, bytes, int]
"""Where a message handed over lies, the token of this hand-over, and the bytes of its payload."""


def payload_of(message: Message, group: str | None) -> bytes:
    """What is kept of a message; `group` where it is for that one only."""
    m = message
    head = (m.id, m.copy, m.topic, dict(m.headers), m.due, group)
    return b"".join((to_json(head), _END, m.body))


def delivery_of(payload: bytes, group: str, lane: Lane, line: str, token: bytes) -> Delivery:
    """A message handed over. The last number of its token says how many nobody answered."""
    head, _, body = payload.partition(_END)
    id_, copy, topic, headers, due, own = from_json(head)
    message = Message(id_, copy, topic, body, headers, lane, due, own)
    earlier = 0 if token.endswith(_FIRST) else int(token.rpartition(b"/")[2])
    receipt: Receipt = line, token, len(payload)
    return Delivery(message, group, earlier, receipt)


@lru_cache(maxsize=1024)
def lane_name(name: LaneName, number: int) -> str:
    """How a lane of a group is named in keys."""
    return f"{name.value}.{number}"


@lru_cache(maxsize=1024)
def lane_of(name: str, slices: int) -> Lane:
    """The lane of a fleet that cuts each into so many, in which what lies there is."""
    lane, _, number = name.partition(".")
    return Lane(LaneName(lane), int(number) % slices)
