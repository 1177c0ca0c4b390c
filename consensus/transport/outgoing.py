"""What one node sends to one peer: a connection that is kept up, and what waits for it."""

import asyncio
import logging
import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from consensus.raft.types import NodeId
from consensus.transport.backlog import Backlog
from consensus.transport.dialing import Patience, dial
from consensus.transport.errors import Lost, Unreached
from consensus.transport.greeting import Terms, greet
from consensus.transport.link import Link
from consensus.transport.telling import Telling
from consensus.wire.errors import Refused, Unreadable
from consensus.wire.frames import Frame, FrameKind
from consensus.wire.messages import Parcel
from contracts.clock import Clock, SystemClock

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialing:
    """How peers are reached. `unreachable` is told, from the event loop and never from within
    `send`, that what was sent to a peer lately may be lost: for `Raft.report_unreachable`."""

    terms: Terms
    unreachable: Callable[[NodeId], None]
    tls: ssl.SSLContext | None = None
    clock: Clock = field(default_factory=SystemClock)
    rng: random.Random = field(default_factory=random.Random)
    patience: Patience = field(default_factory=Patience)


class Outgoing:
    """Sends to one peer, in a task of its own: one that is slow, hangs or is away delays no other.

    There is one connection, made again after a growing wait when it ends. What is sent meanwhile
    waits in a bounded backlog, which loses its oldest; what waited too long is not sent any more.
    """

    def __init__(self, peer: NodeId, address: str, dialing: Dialing) -> None:
        self.peer = peer
        self.address = address
        self._dialing = dialing
        self._limits = dialing.terms.limits
        self._backlog = Backlog(self._limits)
        self._link: Link | None = None
        self._task: asyncio.Task[None] | None = None
        self._telling = Telling(_log)
        self._reported = self._closing = False

    @property
    def connected(self) -> bool:
        """Whether both sides have welcomed each other and nothing ended that."""
        return self._link is not None

    @property
    def dropped(self) -> int:
        """How many messages were dropped since the beginning."""
        return self._backlog.dropped

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self._backlog)

    def start(self) -> None:
        """Begin to dial. Needs a running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def close(self) -> None:
        """Say goodbye, and dial no more."""
        link, self._closing = self._link, True
        if self._task is not None:
            self._task.cancel()
        if link is not None:
            link.close("the node closes the connection")
            await link.closed.wait()
        if self._task is not None:
            await asyncio.wait([self._task])

    def send(self, parcel: Parcel) -> None:
        """Send a message, or lose it. Never waits; raises as `Backlog.encoded`."""
        if self._link is not None and not self._link.full:  # then nothing waits: see `_pace`
            self._link.send(FrameKind.MESSAGE, self._backlog.encoded(parcel))
            return
        dropped, now = self._backlog.dropped, self._dialing.clock.monotonic()
        if self._link is None:
            self._backlog.expire(now - self._limits.stale_s)
        self._backlog.put(parcel, now)
        if self._backlog.dropped > dropped:
            self._report()

    def _report(self) -> None:
        if not self._reported and not self._closing:
            self._reported = True
            asyncio.get_running_loop().call_soon(self._say_unreachable)

    def _say_unreachable(self) -> None:
        self._reported = False
        self._dialing.unreachable(self.peer)

    def _pace(self) -> None:
        """Move what waits into the connection while that has room."""
        while self._backlog and self._link is not None and not self._link.full:
            self._link.send(FrameKind.MESSAGE, self._backlog.take())

    async def _keep(self) -> None:
        clock, tries = self._dialing.clock, 0
        while True:
            began = clock.monotonic()
            try:
                await self._live()
            except (Unreached, Refused, Lost, Unreadable) as error:
                self._telling.once(f"node {self.peer} at {self.address}", error)
            except Exception:  # noqa: BLE001 - a peer is dialled again, whatever it was
                _log.exception("the connection to node %d broke; it is made again", self.peer)
            lasted = clock.monotonic() - began > self._dialing.patience.cap
            tries = 1 if lasted else tries + 1
            await clock.sleep(self._dialing.patience.delay(tries, self._dialing.rng))

    async def _live(self) -> None:
        """One connection, from its opening to its end."""
        terms = self._dialing.terms
        link = await dial(self.address, self._limits, self._dialing.tls)
        try:
            await greet(link, terms, calling=True, expected=self.peer)
            self._joined(link)
            await link.closed.wait()
            if not link.parted:
                raise link.fault or Lost(link.reason)
        finally:
            link.leave()
            if self._link is link:
                self._link = None
                self._report()

    def _joined(self, link: Link) -> None:
        limits = self._limits
        self._telling.forget(f"node {self.peer} at {self.address}")
        link.open(
            lambda frame: _goodbye(link, frame),
            reads=limits.hello_bytes,
            writes=limits.peer_bytes,
            pace=self._pace,
        )
        self._link = link
        dropped = self._backlog.dropped
        self._backlog.expire(self._dialing.clock.monotonic() - limits.stale_s)
        if self._backlog.dropped > dropped:
            self._report()
        self._pace()


def _goodbye(link: Link, frame: Frame) -> None:
    """All that a called peer may say: its own messages go through a connection that it opens."""
    if frame.kind != FrameKind.GOODBYE:
        raise Unreadable(f"a frame of kind {frame.kind} from a peer that was called")
    link.goodbye(frame)
