"""Watching a NATS bucket: a push consumer that is made anew whenever anything was missed."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing

from bus.backends.nats.link import NatsLink
from bus.backends.nats.wire import parse_headers, pub
from bus.errors import BusError, Closed, Unreachable
from bus.keyvalue.nats_currency import Currency
from bus.keyvalue.nats_keys import filter_of, is_marker, key_of
from bus.keyvalue.protocol import Change, Current, Entry, Removed, Snapshot, Written

_HEARTBEAT = 5.0
"""Seconds between the server's signs of life on an idle watch: it pushes them, none is asked."""

_SILENCE = 3 * _HEARTBEAT
_SILENCE_OF_FREQUENT = 5.0
"""Seconds without a sign of life after which a watch is made anew; with frequent heartbeats."""

_AGAIN_AFTER = 0.25
_DOING = "watching entries"

_Item = tuple[str, str, bytes, bytes | None]


class _Broken(Exception):
    """Something was missed; begin again with a snapshot."""


async def watch(
    link: NatsLink, root: str, prefix: str, enter: Callable[[], Awaitable[None]]
) -> AsyncIterator[Change]:
    """Changes under `prefix`; see `KeyValue.watch`. `enter` raises when it is of no use."""
    async with aclosing(_follow(link, filter_of(root, prefix), root, enter, None)) as changes:
        async for change in changes:
            if not isinstance(change, Current):
                yield change


def follow(
    link: NatsLink, root: str, prefix: str, enter: Callable[[], Awaitable[None]], *, every: float
) -> AsyncIterator[Change | Current]:
    """As `watch`, and how current it is; see `KeyValue.follow`."""
    return _follow(link, filter_of(root, prefix), root, enter, every)


async def _follow(
    link: NatsLink,
    filter_: str,
    root: str,
    enter: Callable[[], Awaitable[None]],
    every: float | None,
) -> AsyncGenerator[Change | Current]:
    while True:
        try:
            await enter()
            feed = _Feed(link, filter_, root, every)
            try:
                await feed.open()
                async for change in feed.changes():
                    yield change
            finally:
                feed.close()
        except (_Broken, Unreachable):
            await asyncio.sleep(_AGAIN_AFTER if link.connected else 0)


class _Feed:
    """One consumer and what it has sent."""

    def __init__(self, link: NatsLink, filter_: str, root: str, every: float | None) -> None:
        self._link = link
        self._filter = filter_
        self._root = root
        self._beat = _HEARTBEAT if every is None else every
        self._silence = _SILENCE if every is None else max(3 * every, _SILENCE_OF_FREQUENT)
        self._currency: Currency | None = None
        if every is not None:
            self._currency = Currency(link.clock, every, self._ask)
        self._asking: asyncio.Task[None] | None = None
        self._items: deque[_Item | Current] = deque()
        self._received = 0
        self._arrived = asyncio.Event()
        self._sid = 0
        self._consumer = ""
        self._pending = 0
        self._expected = 1
        self._lost = False

    async def open(self) -> None:
        """Make the consumer; everything under the prefix comes, then every change."""
        link, bucket = self._link, self._link.names.bucket
        inbox = link.new_inbox()
        self._sid = link.listen(inbox, self._on_message)
        link.lost.append(self._on_lost)
        config = {
            "deliver_subject": inbox,
            "deliver_policy": "last_per_subject",
            "ack_policy": "none",
            "filter_subject": self._filter,
            "mem_storage": True,
            "num_replicas": 1,
            "flow_control": True,
            "idle_heartbeat": int(self._beat * 1e9),
            "inactive_threshold": int(_SILENCE * 1e9),
        }
        body = {"stream_name": bucket, "config": config}
        answer = await link.api(f"CONSUMER.CREATE.{bucket}", body, doing=_DOING)
        self._consumer = answer["name"]
        self._pending = answer["num_pending"] + answer["delivered"]["consumer_seq"]

    def close(self) -> None:
        """Stop; the server forgets the consumer when nobody listens."""
        link = self._link
        if self._asking is not None:
            self._asking.cancel()
        if self._on_lost in link.lost:
            link.lost.remove(self._on_lost)
        if not self._sid:
            return
        link.client.forget(self._sid)
        name = f"{link.names.bucket}.{self._consumer}"
        done = (pub(f"$JS.API.CONSUMER.DELETE.{name}", "", b""),) if self._consumer else ()
        link.deafen(self._sid, *done)

    async def changes(self) -> AsyncIterator[Change | Current]:
        """A snapshot, then changes; raises `_Broken` when something was missed."""
        known: dict[str, Entry] = {}
        left = self._pending
        while left > 0:
            item = await self._next()
            if not isinstance(item, Current):
                _, left = self._apply(item, known)
        yield Snapshot(tuple(known[key] for key in sorted(known)))
        if self._currency is not None:
            yield self._currency.at
        keys = set(known)
        known.clear()
        while True:
            item = await self._next()
            if isinstance(item, Current):
                yield item
                continue
            change, _ = self._apply(item, known)
            known.clear()
            if isinstance(change, Written):
                keys.add(change.entry.key)
                yield change
            elif change.key in keys:
                keys.discard(change.key)
                yield change

    def _apply(self, item: _Item, known: dict[str, Entry]) -> tuple[Written | Removed, int]:
        subject, reply, body, block = item
        parts = reply.split(".")
        if len(parts) > 9:
            parts = parts[2:]
        if int(parts[6]) != self._expected:
            raise _Broken
        self._expected += 1
        key = key_of(self._root, subject)
        headers = parse_headers(block)
        if is_marker(headers):
            known.pop(key, None)
            expired = headers.server.get("Nats-Marker-Reason") == "MaxAge"
            return Removed(key, expired), int(parts[8])
        known[key] = Entry(key, body, int(parts[5]))
        return Written(known[key]), int(parts[8])

    async def _next(self) -> _Item | Current:
        while not self._items:
            if self._lost:
                raise _Broken
            self._arrived.clear()
            try:
                async with asyncio.timeout(self._silence):  # wait_for would swallow a cancellation
                    await self._arrived.wait()
            except TimeoutError as error:
                raise _Broken from error
            if self._link.closed:
                raise Closed("the connection to NATS was closed")
        return self._items.popleft()

    def _on_message(self, subject: str, reply: str, body: bytes, block: bytes | None) -> None:
        if block is not None and block[8:9] == b" ":
            self._on_status(reply, block)
        else:
            self._received += 1
            self._items.append((subject, reply, body, block))
            if self._currency is not None:
                self._currency.heard(beat=False)
        self._arrived.set()

    def _on_status(self, reply: str, block: bytes) -> None:
        """Heartbeats and flow control; a heartbeat tells how much should have come."""
        headers = parse_headers(block)
        if headers.status != 100:
            self._lost = True
            return
        answer = reply or headers.server.get("Nats-Consumer-Stalled", "")
        if answer:
            self._link.send(pub(answer, "", b""))
        sent = headers.server.get("Nats-Last-Consumer")
        if sent is None:
            return
        if int(sent) > self._received:
            self._lost = True
        elif self._currency is not None and (at := self._currency.heard(beat=True)) is not None:
            self._items.append(at)

    def _ask(self, now: Current) -> None:
        self._asking = asyncio.get_running_loop().create_task(self._ask_at(now))

    async def _ask_at(self, now: Current) -> None:
        """All that was sent before the answer has been received when it is here."""
        currency = self._currency
        if currency is None:
            return
        try:
            await self._link.echo(_DOING)
        except BusError:
            currency.answered(None)
            return
        currency.answered(now)
        self._items.append(currency.at)
        self._arrived.set()

    def _on_lost(self) -> None:
        self._lost = True
        self._arrived.set()
