"""Frames: what one `write` carries, and how the other side finds them again.

A frame is its length without these four bytes (4, big-endian), its kind (1), its payload, and once
both sides are known the first 16 bytes of HMAC-SHA-256 (truncated as RFC 2104, section 5, allows)
over the frame's number (8) in its direction, kind and payload, under a key that each connection and
each direction has of its own. So nothing that was changed, repeated, reordered, left out, turned
back or kept from another connection is ever read.
"""

import hmac
import struct
from collections import deque
from enum import IntEnum
from typing import NamedTuple

from consensus.wire.errors import Forged, TooLarge, Unreadable

MAC = 16
"""Bytes of an authentication code."""
_LENGTH = struct.Struct(">I")
_HEAD = struct.Struct(">IB")
_NUMBER = struct.Struct(">Q")


class FrameKind(IntEnum):
    """What a frame is. The numbers are sent: they never change."""

    HELLO = 1
    PROOF = 2
    WELCOME = 3
    REFUSED = 4
    GOODBYE = 5
    """The last frame of its sender, with its reason."""
    MESSAGE = 16
    """Peers only: a parcel."""
    REQUEST = 32
    """Clients only: the number of a call (8), then its body; so are all below."""
    ORDER = 33
    """Operators only: a request that changes the cluster."""
    ANSWER = 34
    FAILED = 35
    """The answer of a node that failed at it: nobody knows what was done."""
    SUBSCRIBE = 36
    UNSUBSCRIBE = 37
    PUSH = 38
    ENDED = 39
    """The last of a subscription."""


class Frame(NamedTuple):
    """A frame that was read, its authentication code checked."""

    kind: int
    payload: bytes


class Code:
    """The authentication codes of one direction of one connection, frame by frame."""

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.new(key, digestmod="sha256")
        self.number = 0

    def next(self, body: bytes | memoryview) -> bytes:
        """The code of the next frame, which is counted by asking."""
        code = self._keyed.copy()
        code.update(_NUMBER.pack(self.number))
        code.update(body)
        self.number += 1
        return code.digest()[:MAC]


class Outbox:
    """Makes the frames of one direction."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._code: Code | None = None

    def seal(self, key: bytes) -> None:
        """From now on every frame has a code."""
        self._code = Code(key)

    def frame(self, kind: FrameKind, payload: bytes) -> bytes:
        """The bytes of the next frame; they must be sent, and in this order. `TooLarge` uses up no
        number."""
        if len(payload) > self.limit:
            raise TooLarge(len(payload), self.limit)
        if self._code is None:
            return _HEAD.pack(1 + len(payload), kind) + payload
        body = bytes((kind,)) + payload
        return b"".join((_LENGTH.pack(len(body) + MAC), body, self._code.next(body)))


class Inbox:
    """Finds the frames in the bytes of one direction. It holds what it is fed, no more."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        """Bytes that the payload of a frame may have."""
        self._code: Code | None = None
        self._parts: deque[bytes] = deque()
        self._data = b""
        self._at = 0
        self._held = 0

    def seal(self, key: bytes) -> None:
        """From the next `take` on every frame must have its code."""
        self._code = Code(key)

    @property
    def held(self) -> int:
        """Bytes that were fed and not taken."""
        return self._held

    def feed(self, data: bytes) -> None:
        """Bytes that came, in the order in which they did."""
        self._parts.append(data)
        self._held += len(data)

    def take(self) -> Frame | None:
        """The next frame; None where it is not whole yet.

        `Unreadable` for what is no frame, `Forged` for a wrong code: nothing after that means
        anything, so the connection must be closed.
        """
        if not self._joined(_LENGTH.size):
            return None
        (length,) = _LENGTH.unpack_from(self._data, self._at)
        more = 1 if self._code is None else 1 + MAC
        if not more <= length <= self.limit + more:
            raise Unreadable(f"a frame of {length:,} bytes where {self.limit:,} are allowed")
        if not self._joined(_LENGTH.size + length):
            return None
        start = self._at + _LENGTH.size
        self._at = start + length
        self._held -= _LENGTH.size + length
        return self._opened(start, self._at)

    def _joined(self, size: int) -> bool:
        """Whether so many bytes are there; then they are in one piece."""
        if self._held < size:
            return False
        if len(self._data) - self._at < size:
            self._data = b"".join((self._data[self._at :], *self._parts))
            self._at = 0
            self._parts.clear()
        return True

    def _opened(self, start: int, end: int) -> Frame:
        data = self._data
        if self._code is None:
            return Frame(data[start], data[start + 1 : end])
        cut, number = end - MAC, self._code.number
        code = self._code.next(memoryview(data)[start:cut])
        if not hmac.compare_digest(code, data[cut:end]):
            raise Forged(number)
        return Frame(data[start], data[start + 1 : cut])
