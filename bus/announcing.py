"""Events on their way: gathered for a moment, then sent as one message."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from bus.backend import Message
from bus.errors import BusError
from bus.settling import to_message
from contracts.clock import Clock
from contracts.envelope import Envelope
from contracts.events import CONTENT_TYPE, Event, encode_events
from contracts.ids import new_id
from contracts.topics import EVENTS

GATHER = 0.05
"""Seconds an event waits for others; those of a run that ends sooner leave with its end."""

MOST = 400
"""Events in one message: at some 400 bytes each, well under the size limit."""


class Announcer:
    """Holds events that nothing depends on until they leave together.

    `send` publishes messages without minding whether anybody listens. Events that could not be
    sent because the broker was away are counted in `untold` and dropped: only the terminal
    events of a settled batch, which `take` hands to the settle, are kept by a promise.
    """

    def __init__(
        self, send: Callable[[Sequence[Message]], Awaitable[None]], clock: Clock, source: str
    ) -> None:
        self.untold = 0
        self._send = send
        self._clock = clock
        self._source = source
        self._events: list[Event] = []
        self._flusher: asyncio.Task[None] | None = None

    def tell(self, event: Event) -> None:
        """Send `event` within `GATHER` seconds."""
        self._events.append(event)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush_soon())

    def take(self, terminal: Sequence[Event]) -> list[Message]:
        """Messages that tell what is gathered and `terminal`."""
        events, self._events = [*self._events, *terminal], []
        return [self._message(events[i : i + MOST]) for i in range(0, len(events), MOST)]

    async def close(self) -> None:
        """Send what is gathered."""
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.gather(self._flusher, return_exceptions=True)
        await self._flush()

    async def _flush_soon(self) -> None:
        while self._events:
            await self._clock.sleep(GATHER)
            await self._flush()

    async def _flush(self) -> None:
        count = len(self._events)
        if not count:
            return
        try:
            await self._send(self.take(()))
        except BusError:
            self.untold += count

    def _message(self, events: Sequence[Event]) -> Message:
        now = self._clock.wall()
        task = Envelope(
            id=new_id(now),
            topic=EVENTS,
            source=self._source,
            time=now,
            body=encode_events(events),
            content_type=CONTENT_TYPE,
        )
        return to_message(task, group=None)
