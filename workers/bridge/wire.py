"""What one kind of broker needs to be a bridge's foreign side."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from workers.bridge.messages import Arrived

SIGN_EVERY = 4.0
"""Seconds after which a broker that asks for it is told that a message is still worked on."""


async def _nack(message: Any) -> None:
    await message.nack()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """What one kind of broker needs. `broker` is FastStream's. `subscribe` makes what a handler is
    given to. `read`: a message as it arrived. `send` returns when the broker has it safely.
    `prefix`: of the attributes of a CloudEvent in binary mode. `give_back`: let others have a
    message at once. `sign`: say that it is still worked on, where the broker wants to know.
    `alive`: whether the broker takes what is sent, where `broker` does not know; `close`: let go of
    what is not the `broker`'s. `abandon` closes what `broker.stop` left open because the server is
    away. `knock` connects once, before `broker` does, which would not tell why it is not let in, or
    try for ever; `denials` are the client's errors of a refused login or permission, `absences`
    those of a server that is away, beside `OSError`.
    """

    broker: Any
    subscribe: Callable[[], list[Any]]
    read: Callable[[Any], Arrived]
    send: Callable[[dict[str, str], bytes, str], Awaitable[object]]
    prefix: str
    knock: Callable[[], Awaitable[object]]
    give_back: Callable[[Any], Awaitable[object]] = _nack
    sign: Callable[[Any], Awaitable[object]] | None = None
    alive: Callable[[], Awaitable[bool]] | None = None
    close: Callable[[], Awaitable[object]] | None = None
    abandon: Callable[[], Awaitable[object]] | None = None
    denials: tuple[type[Exception], ...] = ()
    absences: tuple[type[Exception], ...] = ()
