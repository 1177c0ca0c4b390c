"""One connection to a NATS server, to hear why it does not let us in: the client that a bridge uses
goes on asking for ever, and says nothing."""

import asyncio
import ssl
from typing import Any

import nats.errors

from bus.backends.nats.client import NatsClient
from bus.backends.nats.errors import denied

_SECONDS = 4.0


class Denied(Exception):
    """The server refuses user, password or token."""


async def knock(server: str, context: ssl.SSLContext | None) -> None:
    """Return when the server has let us in. Raises `Denied`, and what the client raises."""
    said: list[Exception] = []

    async def hear(error: Exception) -> None:
        said.append(error)

    once: dict[str, Any] = {"allow_reconnect": False, "max_reconnect_attempts": 1}
    trust: dict[str, Any] = {} if context is None else {"tls": context}
    client = NatsClient()
    try:
        async with asyncio.timeout(_SECONDS):
            await client.connect(server, error_cb=hear, reconnect_time_wait=0, **once, **trust)
    except (OSError, TimeoutError, ValueError, nats.errors.Error) as error:
        await client.abandon()
        why = said[-1] if said else error
        if denied(str(why)):
            raise Denied(str(why)) from why
        raise why from None
    await client.close()
