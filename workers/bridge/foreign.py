"""The foreign side: a broker of somebody else's, through FastStream.

FastStream is imported when a bridge starts. What is here is the same for all brokers; what each one
needs is in `wires`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import structlog

from workers.bridge.errors import ExtraMissing
from workers.bridge.messages import Arrived, Leaving
from workers.bridge.places import Place
from workers.bridge.refusing import meaning
from workers.bridge.wire import SIGN_EVERY, Wire
from workers.bridge.wires import WIRES

CONNECT = 5.0
"""Seconds a foreign broker is given to take us in."""

START = 30.0
"""Seconds for all clients to begin where it has: three of Kafka, with a group to be found."""

PING = 2.0

STOP = 15.0
"""Seconds until a foreign broker that does not answer is left without a word."""

_log = structlog.get_logger()

Take = Callable[[Arrived], Awaitable[bool]]


class Foreign:
    """A place outside. `structured`: events leave as JSON, envelope and all, in one body."""

    def __init__(self, place: Place, group: str, *, structured: bool = False) -> None:
        self._place = place
        self._wire = _wire(place, group)
        self._structured = structured

    async def start(self, take: Take | None = None) -> None:
        """Connect; with `take`, give it every message, and let the broker forget those for which it
        says so. Raises `Unreachable`, `AccessDenied`, `BridgeError`."""
        if take is not None:
            for subscriber in self._wire.subscribe():
                subscriber(self._handler(take))
        try:
            async with asyncio.timeout(CONNECT):
                await self._wire.knock()
            async with asyncio.timeout(START):
                await self._wire.broker.start()
        except Exception as error:
            await self.stop()
            raise meaning(error, self._place, self._wire) from error

    async def stop(self) -> None:
        """Take nothing new, finish what is being taken, and let go; the broker may be away."""
        if self._wire.close is not None:
            await self._wire.close()
        try:
            async with asyncio.timeout(STOP):
                await self._wire.broker.stop()
        except Exception as error:  # noqa: BLE001 - each client has its own
            _log.warning("not left in good order", error=repr(error))
            with suppress(Exception):
                if self._wire.abandon is not None:
                    await self._wire.abandon()

    async def send(self, leaving: Leaving) -> None:
        """Return when the event is safe there. Raises what the client raises."""
        headers, body = (
            leaving.structured() if self._structured else leaving.binary(self._wire.prefix)
        )
        await self._wire.send(headers, body, leaving.attributes["id"])

    async def alive(self) -> bool:
        """Whether the broker answers."""
        if self._wire.alive is not None:
            return await self._wire.alive()
        try:
            return bool(await self._wire.broker.ping(timeout=PING))
        except Exception:  # noqa: BLE001 - each client has its own
            return False

    def _handler(self, take: Take) -> Callable[[Any], Awaitable[None]]:
        async def handle(message: Any) -> None:
            signing = asyncio.create_task(self._sign(message))
            try:
                done = await take(self._wire.read(message))
            except Exception as error:  # noqa: BLE001 - whatever it is, it comes again
                _log.exception("not taken", error=repr(error))
                done = False
            finally:
                signing.cancel()
            with suppress(Exception):  # an answer that is lost brings the message again
                await (message.ack() if done else self._wire.give_back(message))

        return handle

    async def _sign(self, message: Any) -> None:
        """Say that a message is still worked on."""
        while self._wire.sign is not None:
            await asyncio.sleep(SIGN_EVERY)
            with suppress(Exception):
                await self._wire.sign(message)


def _wire(place: Place, group: str) -> Wire:
    try:
        return WIRES[place.scheme](place, group)
    except ImportError as error:
        raise ExtraMissing(
            "the bridge needs FastStream, which is not installed here",
            details=str(error),
            actions=("install it: pip install 'muster[bridge]'",),
        ) from error
