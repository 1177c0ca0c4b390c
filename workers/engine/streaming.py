"""Sends the parts of one run's result to whoever asked for them."""

import asyncio
from collections import deque
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from bus.errors import TooLarge
from bus.parts import Batch, Parts
from contracts.envelope import Envelope
from workers.sdk.errors import InvalidPayload

MOST_HELD = 1000
"""Parts of one run that are on their way at once; who streams faster than they leave waits."""

_MOST_HELD_BYTES = 1024 * 1024

LARGEST = 256 * 1024
"""Bytes of one part."""

MOST = 16 * 1024 * 1024
"""Bytes of all parts of one run: they are kept for an hour."""

_PER_ENTRY = 512 * 1024
"""Bytes from which parts that leave together take several entries."""


class Sender:
    """The parts of one run. Those that come while others are on their way leave together: the
    slower the store, the larger its entries. For one event loop."""

    def __init__(self, parts: Parts, task: Envelope, role: str) -> None:
        self._parts = parts
        self._task = task
        self._role = role
        self._held: deque[bytes] = deque()
        self._held_bytes = 0
        self._sent = 0
        self._bytes = 0
        self._room = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None

    async def send(self, body: bytes) -> None:
        """Have a part on its way, once there is room. Raises `TooLarge`, and what a part before
        this one could not be sent for."""
        self._check(body)
        while len(self._held) >= MOST_HELD or self._held_bytes >= _MOST_HELD_BYTES:
            self._raise_failure()
            self._room.clear()
            await self._room.wait()
        self._raise_failure()
        self._held.append(body)
        self._held_bytes += len(body)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())

    async def flush(self) -> None:
        """Return when all parts are safe. Raises what one could not be sent for."""
        if self._sending is not None:
            await asyncio.wait([self._sending])
            self._raise_failure()

    async def close(self) -> None:
        """Send nothing more."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])

    async def _send(self) -> None:
        try:
            while self._held:
                bodies = self._next()
                task, first = self._task, self._sent + 1
                batch = Batch(task.copy, self._role, task.attempt + 1, first, ())
                await self._parts.put(task.reply or "", task.id, batch, bodies)
                self._sent += len(bodies)
                self._room.set()
        finally:
            self._room.set()

    def _next(self) -> list[bytes]:
        bodies, size = [], 0
        while self._held and size < _PER_ENTRY:
            bodies.append(self._held.popleft())
            size += len(bodies[-1])
        self._held_bytes -= size
        return bodies

    def _check(self, body: bytes) -> None:
        self._bytes += len(body)
        if len(body) > LARGEST:
            what, most = f"a part of {len(body):,} bytes", f"{LARGEST:,} of one part"
        elif self._bytes > MOST:
            what, most = f"{self._bytes:,} bytes of parts", f"{MOST:,} of one run"
        else:
            return
        raise TooLarge(
            f"{what} cannot be streamed",
            details=f"more than {most}",
            actions=("stream less, or store it and stream its address",),
        )

    def _raise_failure(self) -> None:
        sending = self._sending
        if sending is not None and sending.done() and not sending.cancelled():
            error = sending.exception()
            if error is not None:
                raise error


def body_of(part: Any) -> bytes:
    """A part as JSON; `InvalidPayload` for what is none."""
    try:
        return to_json(part)
    except (PydanticSerializationError, ValueError) as error:
        raise InvalidPayload(
            "a part of the result is not JSON",
            details=str(error).splitlines()[0],
            actions=("stream a pydantic model, or dicts, lists, text, numbers",),
        ) from error
