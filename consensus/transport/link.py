"""One connection as frames: gathers what is written, holds what is read, knows when it is over."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from typing_extensions import override

from consensus.transport.errors import Lost
from consensus.transport.limits import Limits
from consensus.wire.errors import Unreadable
from consensus.wire.frames import Frame, FrameKind, Inbox, Outbox
from consensus.wire.hello import decode_text, encode_text

_GATHERED = 256 << 10
"""Bytes that wait to be written before the link is `full`: about what one write takes at once."""
_AHEAD = 64 << 10
"""Bytes that are read beyond a whole frame before reading stops."""
_PROBE_S = 5
"""Seconds of silence after which the system asks whether the other machine is there."""


class Link(asyncio.Protocol):
    """One side of one connection.

    At first frames are asked for one by one (`next`); `open` hands each to a function, which must
    not block and raises `Unreadable` for what its speaker may not say. Frames are written in the
    order of `send`, many in one write. What the other side does not take in time ends the link.
    Nothing here may be called from another thread.
    """

    def __init__(self, limits: Limits, made: Callable[["Link"], None] | None = None) -> None:
        self.closed = asyncio.Event()
        self.reason = ""
        """Why it ended; empty while it did not."""
        self.fault: Unreadable | None = None
        """What the other side sent that nobody may send, if it ended for that."""
        self.parted = False
        """Whether the other side said goodbye."""
        self.heard = 0.0
        """When something came last, in seconds of the event loop's clock."""
        self._limits = limits
        self._made = made
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._inbox = Inbox(limits.hello_bytes)
        self._outbox = Outbox(limits.hello_bytes)
        self._receive: Callable[[Frame], None] | None = None
        self._pace: Callable[[], None] | None = None
        self._came = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._held = self._unread = self._paused = self._ending = False
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def address(self) -> str:
        """Where the other side is, for people."""
        found = self._transport.get_extra_info("peername") if self._transport else None
        return "{}:{}".format(*found[:2]) if found else "nowhere"

    @property
    def full(self) -> bool:
        """Whether what is written now would only wait here."""
        return self._paused or self._unsent_bytes >= _GATHERED

    def seal(self, sends: bytes, receives: bytes) -> None:
        """From now on each frame, of both directions, has its code under these keys."""
        self._outbox.seal(sends)
        self._inbox.seal(receives)

    def open(
        self,
        receive: Callable[[Frame], None],
        *,
        reads: int,
        writes: int,
        pace: Callable[[], None] | None = None,
    ) -> None:
        """Hand each frame that comes to `receive`. `reads` and `writes` are the largest payloads of
        the two directions; `pace` is called whenever the link becomes full or has room again."""
        self._inbox.limit, self._outbox.limit = reads, writes
        self._receive, self._pace = receive, pace
        self._loop.call_soon(self._pump)

    async def next(self, kind: FrameKind) -> Frame:
        """The next frame, before `open`: one of `kind`, REFUSED or GOODBYE.

        `Unreadable` for any other, `Lost` where the connection ends before.
        """
        while (frame := self._inbox.take()) is None:
            if self.closed.is_set():
                raise Lost(self.reason)
            self._came.clear()
            await self._came.wait()
        if frame.kind not in {kind, FrameKind.REFUSED, FrameKind.GOODBYE}:
            raise Unreadable(f"a frame of kind {frame.kind} where {kind.name} belongs")
        return frame

    def send(self, kind: FrameKind, payload: bytes) -> None:
        """Write a frame, or forget it where the link is over. `TooLarge` writes nothing."""
        if self._ending or self._transport is None:
            return
        data = self._outbox.frame(kind, payload)
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(data)
        self._unsent_bytes += len(data)
        if self._unsent_bytes >= _GATHERED:
            self._room.clear()
            self._check_reader()

    async def room(self) -> None:
        """Return when the link is not full any more, or over."""
        while self.full and not self.closed.is_set():
            await self._room.wait()

    def hold(self) -> None:
        """Receive nothing until `release`; what comes meanwhile waits at the other side."""
        self._held = True

    def release(self) -> None:
        """Receive again."""
        if self._held:
            self._held = False
            self._loop.call_soon(self._pump)

    def close(self, reason: str) -> None:
        """Say goodbye, write what waits, and end; within `grace_s` whatever the other side does."""
        if not self._ending:
            self.send(FrameKind.GOODBYE, encode_text(reason))
            self.finish(reason)

    def finish(self, reason: str) -> None:
        """As `close`, without a goodbye: the last frame says enough."""
        if not self._ending and self._transport is not None:
            self._flush()
            self._ending = True
            self.reason = self.reason or reason
            self._transport.close()
            self._timed(self._limits.grace_s, reason)

    def abort(self, reason: str) -> None:
        """End at once; what waits is not written."""
        self._ending = True
        self.reason = self.reason or reason
        if self._transport is not None:
            self._transport.abort()

    def leave(self) -> None:
        """End at once, but for last words that are on their way."""
        if not self._ending:
            self.abort("the connection was given up")

    def goodbye(self, frame: Frame) -> None:
        """End, because the other side said goodbye."""
        self.parted = True
        self.finish(f"the other side said goodbye: {decode_text(frame.payload)}")

    # What asyncio calls.

    @override
    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.heard = self._loop.time()
        transport.set_write_buffer_limits(high=_GATHERED)
        _tune(transport.get_extra_info("socket"), self._limits.stall_s)
        if self._made is not None:
            self._made(self)

    @override
    def data_received(self, data: bytes) -> None:
        self.heard = self._loop.time()
        self._inbox.feed(data)
        self._came.set()
        self._pump()

    @override
    def eof_received(self) -> None:
        cut = " in the middle of a frame" if self._inbox.held else ""
        self.reason = self.reason or f"the other side closed the connection{cut}"

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._ending = True
        self.reason = self.reason or str(exc or "the other side closed the connection")
        self._stop_timer()
        self._unsent.clear()
        self.closed.set()
        self._came.set()
        self._room.set()

    @override
    def pause_writing(self) -> None:
        self._paused = True
        self._room.clear()
        if not self._ending:
            self._timed(self._limits.stall_s, "the other side took nothing for too long")
        self._paced()

    @override
    def resume_writing(self) -> None:
        self._paused = False
        if not self._ending:
            self._stop_timer()
        self._paced()

    def _pump(self) -> None:
        """Hand out what is whole, then read on, or stop reading, by what is left."""
        try:
            while self._receive is not None and not self._held and not self._ending:
                frame = self._inbox.take()
                if frame is None:
                    break
                self._receive(frame)
        except Unreadable as error:
            self.fault = error
            self.abort(str(error))
        self._steady()

    def _steady(self) -> None:
        unread = self._inbox.held > self._inbox.limit + _AHEAD
        if unread != self._unread and self._transport is not None and not self._ending:
            self._unread = unread
            (self._transport.pause_reading if unread else self._transport.resume_reading)()

    def _flush(self) -> None:
        if not self._unsent or self._transport is None or self._ending:
            return
        data, self._unsent = b"".join(self._unsent), []
        was_full, self._unsent_bytes = self._unsent_bytes >= _GATHERED, 0
        self._transport.write(data)
        if self._paused:
            self._check_reader()
        elif was_full:
            self._paced()

    def _paced(self) -> None:
        if not self.full:
            self._room.set()
        if self._pace is not None and not self._ending:
            self._pace()

    def _check_reader(self) -> None:
        """The queue of what is not read IS what waits here: it never loses a part of itself."""
        waits = self._transport.get_write_buffer_size() if self._transport else 0
        if self._unsent_bytes + waits > self._limits.unsent_bytes:
            self.abort("the other side reads too slowly")

    def _timed(self, seconds: float, reason: str) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(seconds, self.abort, reason)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _tune(sock: socket.socket | None, stall_s: float) -> None:
    """Small messages leave at once; that a machine is gone is noticed, also in silence."""
    if sock is None or sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    seconds = {"TCP_KEEPIDLE": _PROBE_S, "TCP_KEEPINTVL": _PROBE_S, "TCP_KEEPCNT": 2}
    for name, value in {**seconds, "TCP_USER_TIMEOUT": int(stall_s * 1000)}.items():
        if hasattr(socket, name):  # not every system has them all
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
