"""The node's side of a client: requests in, answers and pushes out."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from consensus.transport.limits import Limits
from consensus.transport.link import Link
from consensus.wire.calls import Call, decode_call, encode_call
from consensus.wire.errors import Unreadable
from consensus.wire.frames import Frame, FrameKind
from consensus.wire.hello import Party, Speaker, encode_text

_log = logging.getLogger(__name__)


class Client:
    """A worker or an operator in one connection."""

    def __init__(self, speaker: Speaker, link: Link) -> None:
        self.speaker = speaker
        self._link = link

    @property
    def heard(self) -> float:
        """When it said anything last, in seconds of the event loop's clock."""
        return self._link.heard

    @property
    def address(self) -> str:
        """Where it is, for people."""
        return self._link.address

    def close(self, reason: str) -> None:
        """Say goodbye to it, with the reason."""
        self._link.close(reason)

    def __str__(self) -> str:
        return f"{self.speaker} at {self.address}"


class Subscriber:
    """A client that asked to be told. Pushes keep their order; one that cannot be taken closes the
    connection, so that nothing is ever missing from the middle."""

    def __init__(
        self, client: Client, call: Call, link: Link, forget: Callable[[int], None]
    ) -> None:
        self.client = client
        self.body = call.body
        """What it asked for."""
        self._number = call.number
        self._link = link
        self._forget = forget
        self.over = False
        """Whether nobody listens any more."""

    def push(self, body: bytes) -> None:
        """Tell it; nothing happens where it is over. Never waits. `TooLarge` tells nothing."""
        if not self.over:
            self._link.send(FrameKind.PUSH, encode_call(self._number, body))

    def end(self, body: bytes) -> None:
        """Tell it the last thing. `unsubscribed` is not called for that."""
        if not self.over:
            self._link.send(FrameKind.ENDED, encode_call(self._number, body))
            self.over = True
            self._forget(self._number)


class Handler(Protocol):
    """What a node does for its clients. Bodies mean nothing to the transport. All but `answer` and
    `order` must return at once, and none may raise but those."""

    async def answer(self, client: Client, body: bytes) -> bytes:
        """The answer to a request. Called concurrently; cancelled when the connection ends. An
        error that it raises is logged and told as "unknown what was done"."""
        ...

    async def order(self, client: Client, body: bytes) -> bytes:
        """As `answer`; only operators are heard."""
        ...

    def subscribed(self, subscriber: Subscriber) -> None:
        """A client wants to be told, until `unsubscribed`."""
        ...

    def unsubscribed(self, subscriber: Subscriber) -> None:
        """It does not any more, or its connection ended."""
        ...

    def connected(self, client: Client) -> None:
        """A client was let in."""
        ...

    def disconnected(self, client: Client) -> None:
        """Its connection ended; called after its last `unsubscribed`."""
        ...


_Work: TypeAlias = Callable[[Client, bytes], Awaitable[bytes]]


class Calls:
    """The calls of one client. No more are read while `requests` are worked on, or wait to be
    answered because the client does not take the answers before."""

    def __init__(self, client: Client, link: Link, handler: Handler, limits: Limits) -> None:
        self._client = client
        self._link = link
        self._handler = handler
        self._limits = limits
        self._running: dict[int, asyncio.Task[None]] = {}
        self._subscribers: dict[int, Subscriber] = {}
        self._finishing = False

    def open(self) -> None:
        """Begin to read."""
        size = self._limits.client_bytes + 8
        self._handler.connected(self._client)
        self._link.open(self._receive, reads=size, writes=size)

    async def close(self) -> None:
        """Cancel what is worked on; the connection is over."""
        for task in self._running.values():
            task.cancel()
        if self._running:
            await asyncio.wait(self._running.values())
        while self._subscribers:
            self._unsubscribe(next(iter(self._subscribers)))
        self._handler.disconnected(self._client)

    async def finish(self) -> None:
        """Read nothing more, and return when everything that is worked on is answered."""
        self._finishing = True
        self._pace()
        if self._running:
            await asyncio.wait(self._running.values())

    def _receive(self, frame: Frame) -> None:
        if frame.kind == FrameKind.GOODBYE:
            self._link.goodbye(frame)
            return
        call = decode_call(frame.payload)
        if frame.kind == FrameKind.REQUEST:
            self._begin(call, self._handler.answer)
        elif frame.kind == FrameKind.ORDER and self._client.speaker.party is Party.OPERATOR:
            self._begin(call, self._handler.order)
        elif frame.kind == FrameKind.SUBSCRIBE:
            self._subscribe(call)
        elif frame.kind == FrameKind.UNSUBSCRIBE:
            self._unsubscribe(call.number)
        else:
            raise Unreadable(f"{self._client} may not send a frame of kind {frame.kind}")

    def _begin(self, call: Call, work: _Work) -> None:
        if call.number in self._running:
            raise Unreadable(f"{self._client} asked call {call.number} twice")
        loop = asyncio.get_running_loop()
        task = self._running[call.number] = loop.create_task(self._work(call, work))
        task.add_done_callback(lambda _: self._done(call.number))
        self._pace()

    def _done(self, number: int) -> None:
        del self._running[number]
        self._pace()

    async def _work(self, call: Call, work: _Work) -> None:
        try:
            answer = await work(self._client, call.body)
            await self._link.room()
            self._link.send(FrameKind.ANSWER, encode_call(call.number, answer))
        except Exception as error:  # noqa: BLE001 - the client waits, whatever it was
            _log.exception("a request of %s failed", self._client)
            self._link.send(FrameKind.FAILED, encode_call(call.number, encode_text(str(error))))

    def _pace(self) -> None:
        """Read on only where another request may be worked on."""
        busy = len(self._running) >= self._limits.requests
        (self._link.hold if busy or self._finishing else self._link.release)()

    def _subscribe(self, call: Call) -> None:
        if call.number in self._subscribers or len(self._subscribers) >= self._limits.subscriptions:
            raise Unreadable(f"{self._client} subscribes too often")
        made = Subscriber(self._client, call, self._link, self._unsubscribe)
        self._subscribers[call.number] = made
        self._handler.subscribed(made)

    def _unsubscribe(self, number: int) -> None:
        subscriber = self._subscribers.pop(number, None)
        if subscriber is not None and not subscriber.over:
            subscriber.over = True
            self._handler.unsubscribed(subscriber)
