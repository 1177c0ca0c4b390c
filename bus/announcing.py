"""Events on their way: gathered for a moment, then sent as one message."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TypeVar

from bus.backend import Delivery, Message
from bus.errors import BusError
from bus.settling import to_message
from bus.unread import Unread
from bus.waking import Bell, new_bell, ring, rung
from contracts.clock import Clock
from contracts.deeds import Deed, encode_deeds
from contracts.envelope import Envelope
from contracts.events import (
    CONTENT_TYPE,
    MARK,
    Event,
    Kind,
    Publication,
    encode_events,
    encode_published,
)
from contracts.ids import new_id
from contracts.topics import EVENTS

GATHER = 0.05
"""Seconds an event waits for others; those of a run that ends sooner leave with its end."""

START = 0.25
"""Seconds a run may last that is told by its end only."""

MOST = 400
"""Events in one message."""

MOST_PUBLISHED = 500
"""Tasks whose publishing one message tells: a hundred bytes each."""

_STARTED = Kind.STARTED

T = TypeVar("T")

_NO_EXTRA: Mapping[str, str] = MappingProxyType({})

LARGEST = 512 * 1024
"""Bytes of one message of several events: well under the size limit."""


class Announcer:
    """Holds events that nothing depends on until they leave together.

    `send` publishes messages without minding whether anybody listens. Events that could not be
    sent because the broker was away are counted in `untold` and dropped: only the terminal
    events of a settled batch, which leave as part of the settle, are kept by a promise.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Message]], Awaitable[None]],
        clock: Clock,
        source: str,
        unread: Unread,
    ) -> None:
        self.untold = 0
        self._send = send
        self._clock = clock
        self._source = source
        self._unread = unread
        self._events: list[Event] = []
        self._starts: dict[Delivery, Callable[[], Event]] = {}
        self._starts_until = 0.0
        self._flusher: asyncio.Task[None] | None = None
        self._bell: Bell | None = None
        self._closing = False

    @property
    def left_out(self) -> int:
        """Events that were not told because too much is unread."""
        return self._unread.dropped

    def tell(self, event: Event) -> None:
        """Send `event` within `GATHER` seconds, unless too much is unread."""
        if not self._unread.admits(event.kind):
            return
        self._events.append(event)
        self._flush_later()

    def tell_start(self, delivery: Delivery, made: Callable[[], Event]) -> None:
        """Send the event of a run's start, which is made when it leaves, unless `forget_start` is
        quicker: what ends within a moment is told once, by its end. Or too much is unread."""
        if not self._unread.admits(_STARTED):
            return
        if not self._starts:
            self._starts_until = self._clock.monotonic() + START
        self._starts[delivery] = made
        self._flush_later()

    def forget_start(self, delivery: Delivery) -> Callable[[], Event] | None:
        """The start of this run need not be told; None if it was. Hand it to `tell_start` again
        if its end is not told either."""
        return self._starts.pop(delivery, None)

    def _flush_later(self) -> None:
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush_soon())

    def take(self) -> list[Event]:
        """What is gathered but for starts, for another message to carry; `tell` it again if that
        fails."""
        events, self._events = self._events, []
        return events

    def messages(self, events: Sequence[Event], deeds: Sequence[Deed] = ()) -> list[Message]:
        """Messages that tell `events`, and one that tells `deeds`."""
        if deeds:
            return [*self.messages(events), self._message(encode_deeds(deeds))]
        return self._in_parts(events, encode_events, MOST) if events else []

    def published(self, tasks: Sequence[Publication]) -> list[Message]:
        """Messages that tell that `tasks` are published, from this source."""
        encode = partial(encode_published, self._source)
        return self._in_parts(tasks, encode, MOST_PUBLISHED) if tasks else []

    def _in_parts(
        self, items: Sequence[T], encode: Callable[[Sequence[T]], bytes], most: int
    ) -> list[Message]:
        if len(items) <= most:
            body = encode(items)
            if len(items) == 1 or len(body) <= LARGEST:
                return [self._message(body)]
        half = len(items) // 2
        parts = items[:half], items[half:]
        return [message for part in parts for message in self._in_parts(part, encode, most)]

    async def tell_deed(self, deed: Deed) -> None:
        """Send `deed`, now. Raises `BusError` when it is not accepted."""
        await self._send(self.messages((), (deed,)))

    async def mark(self, name: str) -> None:
        """Send an empty batch called `name`, now. Raises `BusError` when it is not accepted."""
        await self._send([self._message(encode_events([]), {MARK: name})])

    async def close(self) -> None:
        """Send what is gathered, now."""
        self._closing = True
        if self._bell is not None:
            ring(self._bell)
        if self._flusher is not None:
            await asyncio.wait([self._flusher])
        await self._flush()
        await self._unread.close()

    async def _flush_soon(self) -> None:
        while self._events or self._starts:
            self._bell = new_bell()
            if not self._closing:
                await rung(self._bell, self._clock, GATHER)
            await self._flush()

    async def _flush(self) -> None:
        events = [*self._take_starts(), *self.take()]
        if not events:
            return
        self._unread.look()
        try:
            await self._send(self.messages(events))
        except BusError:
            self.untold += len(events)

    def _take_starts(self) -> list[Event]:
        """The starts of runs that go on: those told since the first of them was, all at once."""
        if not self._closing and self._clock.monotonic() < self._starts_until:
            return []
        starts, self._starts = self._starts, {}
        return [made() for made in starts.values()]

    def _message(self, body: bytes, extra: Mapping[str, str] = _NO_EXTRA) -> Message:
        now = self._clock.wall()
        self._unread.sent(len(body))
        task = Envelope(
            id=new_id(now),
            topic=EVENTS,
            source=self._source,
            time=now,
            body=body,
            content_type=CONTENT_TYPE,
            extra=extra,
        )
        return to_message(task, group=None)
