"""Sending to a RabbitMQ queue on a connection that is made anew whenever it failed.

The client's own reconnecting channel may wait for ever once its server was killed.
"""

import asyncio
import ssl
from contextlib import suppress
from typing import Any

from aio_pika import DeliveryMode, Message, connect
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import AuthenticationError, ProbableAuthenticationError
from aiormq.exceptions import ChannelAccessRefused, ConnectionNotAllowed

DENIALS = (
    AuthenticationError,
    ChannelAccessRefused,
    ConnectionNotAllowed,
    ProbableAuthenticationError,
)
"""A login or a permission was refused."""

SECONDS = 5.0
"""A broker is given to answer."""


class Sender:
    """Sends to one queue; each message returns when it is confirmed."""

    def __init__(self, url: str, queue: str, context: ssl.SSLContext | None = None) -> None:
        self._url = url
        self._context = context
        self._queue = queue
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._opening = asyncio.Lock()

    async def send(self, headers: dict[str, str], body: bytes, event: str) -> None:
        """Raises what the client raises, also for a queue that is not there."""
        named: dict[str, Any] = dict(headers)
        message = Message(
            body,
            content_type=named.pop("content-type"),
            headers=named,
            message_id=event,
            delivery_mode=DeliveryMode.PERSISTENT,
        )
        async with asyncio.timeout(SECONDS):
            channel = await self._open()
            await channel.default_exchange.publish(message, self._queue, mandatory=True)

    async def knock(self) -> None:
        """Return when the broker has let us in. Raises what the client does; the one that reads
        would also say that it tries again, which it does not."""
        async with asyncio.timeout(SECONDS):
            await self._open()
        await self.close()

    async def alive(self) -> bool:
        """Whether the broker takes us in."""
        try:
            async with asyncio.timeout(SECONDS):
                await self._open()
        except Exception:  # noqa: BLE001 - the client has many
            return False
        return True

    async def close(self) -> None:
        """Let go of it."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with suppress(Exception):
                async with asyncio.timeout(SECONDS):
                    await connection.close()

    async def _open(self) -> AbstractChannel:
        async with self._opening:
            channel, connection = self._channel, self._connection
            if channel is None or channel.is_closed or connection is None or connection.is_closed:
                await self.close()
                self._connection = await connect(self._url, ssl_context=self._context)
                channel = self._channel = await self._connection.channel(
                    publisher_confirms=True, on_return_raises=True
                )
            return channel
