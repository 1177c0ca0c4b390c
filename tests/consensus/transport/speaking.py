"""Speakers for tests: nodes that note what they hear, and strangers that say anything by hand."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from ssl import SSLContext
from typing import TypeVar

from consensus.raft.messages import Append, Heartbeat
from consensus.raft.types import Entry, Kind
from consensus.transport.calls import Client, Subscriber
from consensus.transport.greeting import Terms, everybody
from consensus.transport.limits import Limits
from consensus.transport.listener import Listener
from consensus.wire.errors import Refused
from consensus.wire.frames import Frame, FrameKind, Inbox, Outbox
from consensus.wire.handshake import Handshake
from consensus.wire.hello import Hello, Party, Speaker, decode_refusal
from consensus.wire.keys import Keys
from consensus.wire.messages import Parcel
from contracts.clock import SystemClock
from deploy.ports import LOOPBACK
from tests.consensus.wire.words import OTHER, PEER

T = TypeVar("T")
KEYS = {party: party.name.encode().ljust(32, b".") for party in Party}
ALL = Keys(Party.PEER, KEYS)
LIMITS = Limits()
HASTY = replace(LIMITS, hello_s=0.2, stall_s=0.2, grace_s=0.2)
"""For what must be given up, so that a test waits a moment only."""


async def soon(wanted: Awaitable[T]) -> T:
    """What is waited for, or a failure of the test."""
    async with asyncio.timeout(20):
        return await wanted


def terms(
    speaker: Speaker = PEER,
    *,
    keys: Keys | None = None,
    admit: Callable[[Speaker], Awaitable[None]] = everybody,
    limits: Limits = LIMITS,
) -> Terms:
    """Of a node with all keys, or of a client with its own."""
    party = speaker.party
    own = ALL if party is Party.PEER else Keys(party, {party: KEYS[party]})
    return Terms(introduce=lambda: speaker, keys=keys or own, admit=admit, limits=limits)


class Desk:
    """A handler that answers what it was asked, and waits where it is told to."""

    def __init__(self) -> None:
        self.clients: asyncio.Queue[Client] = asyncio.Queue()
        self.gone: asyncio.Queue[Client] = asyncio.Queue()
        self.subscribers: asyncio.Queue[Subscriber] = asyncio.Queue()
        self.unsubscribers: asyncio.Queue[Subscriber] = asyncio.Queue()
        self.asked: asyncio.Queue[bytes] = asyncio.Queue()
        self.orders: list[bytes] = []
        self.cancelled: asyncio.Queue[bytes] = asyncio.Queue()
        self.may: dict[bytes, asyncio.Event] = {}
        self.answers: dict[bytes, bytes] = {}
        self.working = self.most = 0

    async def answer(self, client: Client, body: bytes) -> bytes:
        self.working += 1
        self.most = max(self.most, self.working)
        self.asked.put_nowait(body)
        try:
            if body in self.may:
                await self.may[body].wait()
            if body.startswith(b"fail"):
                raise ValueError(body.decode())
            return self.answers.get(body, body + b" by " + client.speaker.party.name.encode())
        except asyncio.CancelledError:
            self.cancelled.put_nowait(body)
            raise
        finally:
            self.working -= 1

    async def order(self, client: Client, body: bytes) -> bytes:
        self.orders.append(body)
        return b"done for " + str(client.speaker).encode()

    def subscribed(self, subscriber: Subscriber) -> None:
        self.subscribers.put_nowait(subscriber)

    def unsubscribed(self, subscriber: Subscriber) -> None:
        self.unsubscribers.put_nowait(subscriber)

    def connected(self, client: Client) -> None:
        self.clients.put_nowait(client)

    def disconnected(self, client: Client) -> None:
        self.gone.put_nowait(client)


class Ears:
    """Notes what peers send."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[int, Parcel]] = asyncio.Queue()
        self.came: asyncio.Queue[Speaker] = asyncio.Queue()
        self.went: asyncio.Queue[Speaker] = asyncio.Queue()

    def received(self, sender: Speaker, parcel: Parcel) -> None:
        self.heard.put_nowait((sender.node, parcel))

    def met(self, peer: Speaker) -> None:
        self.came.put_nowait(peer)

    def left(self, peer: Speaker) -> None:
        self.went.put_nowait(peer)


@dataclass(frozen=True, slots=True)
class Node:
    """A node that listens."""

    listener: Listener
    port: int
    desk: Desk
    ears: Ears

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"


@asynccontextmanager
async def listening(
    on: Terms | None = None, *, port: int = 0, tls: SSLContext | None = None
) -> AsyncIterator[Node]:
    """A node, closed at the end."""
    desk, ears = Desk(), Ears()
    listener = Listener(on or terms(), ears, desk)
    yield_port = await listener.start(LOOPBACK, port, tls)
    try:
        yield Node(listener, yield_port, desk, ears)
    finally:
        await soon(listener.close())


class Stranger:
    """Speaks by hand over one connection: right, up to the point where a test says otherwise."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, speaker: Speaker
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.inbox = Inbox(LIMITS.peer_bytes)
        self.outbox = Outbox(LIMITS.peer_bytes)
        party = speaker.party
        keys = ALL if party is Party.PEER else Keys(party, {party: KEYS[party]})
        self.hello = Hello(speaker, b"n" * 32)
        self.calling = Handshake(keys, self.hello, calling=True)
        self.called = Handshake(keys, self.hello, calling=False)

    def say(self, kind: FrameKind, payload: bytes = b"") -> bytes:
        """Send a frame; returns its bytes."""
        data = self.outbox.frame(kind, payload)
        self.writer.write(data)
        return data

    async def next(self) -> Frame | None:
        """The next frame; None at the end of the connection."""
        while (frame := self.inbox.take()) is None:
            try:
                data = await soon(self.reader.read(65536))
            except ConnectionError:
                return None
            if not data:
                return None
            self.inbox.feed(data)
        return frame

    async def wanted(self, kind: FrameKind) -> bytes:
        """The payload of the next frame, which must be of this kind."""
        frame = await self.next()
        assert frame is not None, "the connection ended"
        assert frame.kind == kind
        return frame.payload

    async def refused(self) -> Refused:
        """Why this one is refused: the connection ends after that."""
        refused = decode_refusal(await self.wanted(FrameKind.REFUSED))
        await self.ended()
        return refused

    async def ended(self) -> None:
        """Nothing more comes but a goodbye."""
        while (frame := await self.next()) is not None:
            assert frame.kind == FrameKind.GOODBYE

    async def introduced(self) -> None:
        """Call a node, up to its proof."""
        self.say(FrameKind.HELLO, self.calling.hello())
        self.calling.meet(await self.wanted(FrameKind.HELLO))
        self.say(FrameKind.PROOF, self.calling.prove())

    async def welcomed(self) -> "Stranger":
        """Call a node, up to the end of the handshake."""
        await self.introduced()
        self.calling.check(await self.wanted(FrameKind.PROOF))
        self.outbox.seal(self.calling.sends())
        self.inbox.seal(self.calling.receives())
        await self.wanted(FrameKind.WELCOME)
        self.say(FrameKind.WELCOME)
        return self

    async def welcoming(self) -> "Stranger":
        """Be called, up to the end of the handshake."""
        self.called.meet(await self.wanted(FrameKind.HELLO))
        self.say(FrameKind.HELLO, self.called.hello())
        self.called.check(await self.wanted(FrameKind.PROOF))
        self.say(FrameKind.PROOF, self.called.prove())
        self.outbox.seal(self.called.sends())
        self.inbox.seal(self.called.receives())
        self.say(FrameKind.WELCOME)
        await self.wanted(FrameKind.WELCOME)
        return self

    async def close(self) -> None:
        self.writer.transport.abort()
        await asyncio.sleep(0)


@asynccontextmanager
async def stranger(port: int, speaker: Speaker = OTHER) -> AsyncIterator[Stranger]:
    """Somebody who opened a connection and said nothing yet."""
    made = Stranger(*await asyncio.open_connection(LOOPBACK, port), speaker)
    try:
        yield made
    finally:
        await made.close()


class Called:
    """A port behind which a test answers by hand."""

    def __init__(self, speaker: Speaker) -> None:
        self.speaker = speaker
        self.callers: asyncio.Queue[Stranger] = asyncio.Queue()
        self.all: list[Stranger] = []
        self.address = ""
        self.over = False

    def came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.over:  # it was accepted before the port was closed
            writer.transport.abort()
            return
        self.all.append(Stranger(reader, writer, self.speaker))
        self.callers.put_nowait(self.all[-1])

    async def next(self) -> Stranger:
        """Who called next."""
        return await soon(self.callers.get())


@asynccontextmanager
async def answering(speaker: Speaker = OTHER) -> AsyncIterator[Called]:
    """A port that takes connections and says nothing."""
    called = Called(speaker)
    server = await asyncio.start_server(called.came, LOOPBACK, 0)
    called.address = f"{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
    try:
        yield called
    finally:
        called.over = True
        asyncio.get_running_loop().remove_reader(server.sockets[0].fileno())
        for _ in range(3):  # asyncio loses the socket of who is accepted while a server closes
            await asyncio.sleep(0)
        server.close()
        for one in called.all:
            await one.close()


class Stopwatch(SystemClock):
    """Lets no time pass between attempts, and notes how long they should have been apart."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


def heartbeat(round_: int, *, sender: int = 2, to: int = 1) -> Parcel:
    """A small message."""
    return Parcel(Heartbeat(sender, to, 3, 0, round_), 11)


def append(index: int, size: int, *, sender: int = 2, to: int = 1) -> Parcel:
    """A message with one entry of so many bytes."""
    entry = Entry(index, 3, Kind.COMMAND, b"x" * size)
    return Parcel(Append(sender, to, 3, index - 1, 3, (entry,), 0), 11)
