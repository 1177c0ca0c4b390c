"""The port of a node: peers and clients come in here, each kind within its bounds."""

import asyncio
import logging
import ssl
from collections import Counter
from dataclasses import replace
from typing import Protocol

from consensus.raft.types import NodeId
from consensus.transport.calls import Calls, Client, Handler
from consensus.transport.dialing import tls_options
from consensus.transport.errors import Lost
from consensus.transport.greeting import Terms, greet
from consensus.transport.link import Link
from consensus.transport.telling import Telling
from consensus.wire.errors import Refused, Unreadable, Why
from consensus.wire.frames import Frame, FrameKind
from consensus.wire.hello import Party, Speaker
from consensus.wire.messages import Parcel, decode

_log = logging.getLogger(__name__)


class Peers(Protocol):
    """Who gets what peers send. All of it must return at once; none may raise."""

    def received(self, sender: Speaker, parcel: Parcel) -> None:
        """A message, from whom its connection proves it to be; `parcel.message.sender` is that."""
        ...

    def met(self, peer: Speaker) -> None:
        """A peer was let in; `peer.name` is the address where it says that it is reached."""
        ...

    def left(self, peer: Speaker) -> None:
        """Its connection ended, and no newer one took its place."""
        ...


class Listener:
    """Accepts connections until it is closed. Each is a task of its own."""

    def __init__(self, terms: Terms, peers: Peers, handler: Handler) -> None:
        self._terms = terms
        self._peers = peers
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._tasks: dict[asyncio.Task[None], Link] = {}
        self._strangers = 0
        self._known: Counter[Party] = Counter()
        self._links: dict[NodeId, Link] = {}
        self._calls: dict[Link, Calls] = {}
        self.telling = Telling(_log)
        self._closing = False

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen, at a free port where `port` is 0; returns the port. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        limits = self._terms.limits
        self._server = await loop.create_server(
            lambda: Link(limits, self._came),
            host,
            port,
            backlog=limits.strangers,
            **tls_options(tls, limits),
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Accept nobody, answer what is worked on, say goodbye; ends within twice `grace_s`."""
        self._closing = True
        if self._server is not None:
            await _stop_accepting(self._server)
        try:
            async with asyncio.timeout(self._terms.limits.grace_s):
                for calls in list(self._calls.values()):
                    await calls.finish()
        except TimeoutError:
            _log.warning("requests were still worked on when the node closed")
        finally:
            for link in self._tasks.values():
                link.close("the node is closing")
            await self._end()

    async def _end(self) -> None:
        """Let each connection end by itself; what hangs is cancelled."""
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=self._terms.limits.grace_s)
        for task in list(self._tasks):
            task.cancel()
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    def counts(self) -> dict[Party, int]:
        """How many speakers of each kind are connected."""
        return {party: self._known[party] for party in Party}

    def _came(self, link: Link) -> None:
        if self._closing or self._strangers >= self._terms.limits.strangers:
            self.telling.counts["turned away"] += 1
            link.abort("too many connections that nobody introduced")
            return
        self._strangers += 1
        task = asyncio.get_running_loop().create_task(self._serve(link))
        self._tasks[task] = link
        task.add_done_callback(self._tasks.pop)

    async def _serve(self, link: Link) -> None:
        """One connection, from its first byte to its end."""
        places: list[Party] = []
        try:
            speaker = await self._greeted(link, places)
            await (self._peer if speaker.party is Party.PEER else self._client)(speaker, link)
            if link.fault is not None:
                raise link.fault
        except (Refused, Lost, Unreadable) as error:
            self.telling.once(link.address.rpartition(":")[0], error)
        finally:
            link.leave()
            self._known.subtract(places)

    async def _greeted(self, link: Link, places: list[Party]) -> Speaker:
        """Who comes; `places` is what its connection takes until it ends."""

        async def admit(speaker: Speaker) -> None:
            self._enter(speaker.party)
            places.append(speaker.party)
            await self._terms.admit(speaker)

        try:
            return await greet(link, replace(self._terms, admit=admit), calling=False)
        finally:
            self._strangers -= 1

    def _enter(self, party: Party) -> None:
        if self._closing:
            raise Refused(Why.CLOSING, "the node is closing")
        if self._known[party] >= self._terms.limits.connections()[party]:
            raise Refused(Why.CROWDED, f"{self._known[party]} of this kind are connected")
        self._known[party] += 1

    async def _peer(self, speaker: Speaker, link: Link) -> None:
        """Read what a peer sends. The newest connection of a node is the one: of an older one only
        this side did not notice the end."""
        old, self._links[speaker.node] = self._links.get(speaker.node), link
        if old is not None:
            old.abort("the node opened a newer connection")
        limits = self._terms.limits
        link.open(
            lambda frame: self._received(speaker, link, frame),
            reads=limits.peer_bytes,
            writes=limits.hello_bytes,
        )
        self._peers.met(speaker)
        try:
            await link.closed.wait()
        finally:
            if self._links.get(speaker.node) is link:
                del self._links[speaker.node]
                self._peers.left(speaker)

    def _received(self, speaker: Speaker, link: Link, frame: Frame) -> None:
        if frame.kind == FrameKind.GOODBYE:
            link.goodbye(frame)
            return
        if frame.kind != FrameKind.MESSAGE:
            raise Unreadable(f"{speaker} may not send a frame of kind {frame.kind}")
        parcel = decode(frame.payload)
        if parcel.message.sender != speaker.node:
            raise Unreadable(f"{speaker} sent a message of node {parcel.message.sender}")
        self._peers.received(speaker, parcel)

    async def _client(self, speaker: Speaker, link: Link) -> None:
        calls = Calls(Client(speaker, link), link, self._handler, self._terms.limits)
        self._calls[link] = calls
        calls.open()
        try:
            await link.closed.wait()
        finally:
            del self._calls[link]
            await calls.close()


async def _stop_accepting(server: asyncio.Server) -> None:
    """Close it once nothing is half accepted: asyncio (Python 3.11) forgets, unclosed, a connection
    whose server is closed between the accept and the next turn of the loop."""
    loop = asyncio.get_running_loop()
    for sock in server.sockets:
        loop.remove_reader(sock.fileno())
    for _ in range(2):
        await asyncio.sleep(0)
    server.close()
