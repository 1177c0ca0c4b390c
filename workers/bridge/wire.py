"""What one kind of broker needs to be a bridge's foreign side."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from workers.bridge.messages import Arrived

SIGN_EVERY = 4.0
"""Seconds after which a broker that asks for it is told that a message is still worked on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """What one kind of broker needs. `broker` is FastStream's. `subscribe` makes what a handler is
    given to. `read`: a message as it arrived. `send` returns when the broker has it safely.
    `prefix`: of the attributes of a CloudEvent in binary mode. `abandon` closes what `broker.stop`
    left open because the server is away."""

    broker: Any
    subscribe: Callable[[], list[Any]]
    read: Callable[[Any], Arrived]
    send: Callable[[dict[str, str], bytes, str], Awaitable[object]]
    prefix: str
    abandon: Callable[[], Awaitable[object]] | None = None
