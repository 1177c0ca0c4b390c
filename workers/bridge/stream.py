"""Entries of a Redis stream: the field `data` is the body, the others are headers."""

from collections.abc import Awaitable, Callable
from typing import Any

from pydantic_core import to_json

from workers.bridge.messages import Arrived

_BODY = "data"
_WRAPPED = b"__data__"
"""The only field of what FastStream itself has published."""


class Stream:
    """A stream `name` that a bridge reads as `consumer` of `group`. `connect`: gives a client."""

    def __init__(
        self, connect: Callable[[], Awaitable[Any]], name: str, group: str, consumer: str
    ) -> None:
        self.group = group
        self._connect = connect
        self._name = name
        self._consumer = consumer

    def own_id(self, message: Any) -> str:
        """What the broker calls it."""
        return f"{self._name} {message.raw_message['message_ids'][0].decode()}"

    def read(self, message: Any) -> Arrived | None:
        """The entry, or None for one that FastStream can read. One without a body is an object of
        its fields."""
        fields = message.raw_message["data"]
        if _WRAPPED in fields:
            return None
        headers = {_text(name): _text(value) for name, value in fields.items()}
        if _BODY not in headers:
            return Arrived(body=to_json(headers), headers={}, own_id=self.own_id(message))
        del headers[_BODY]
        body = fields[_BODY.encode()]
        return Arrived(body=body, headers=headers, own_id=self.own_id(message))

    async def ping(self) -> None:
        """Return when the server has let us in."""
        client = await self._connect()
        await client.ping()

    async def send(self, headers: dict[str, str], body: bytes, _event: str) -> None:
        """One entry more."""
        client = await self._connect()
        await client.xadd(self._name, {**headers, _BODY: body})

    async def idle(self, message: Any, milliseconds: int) -> None:
        """Let it count as not worked on for so long: Redis has no other way to give it back."""
        client = await self._connect()
        ids = message.raw_message["message_ids"]
        how: dict[str, Any] = {"idle": milliseconds, "justid": True}
        await client.xclaim(self._name, self.group, self._consumer, 0, ids, **how)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
