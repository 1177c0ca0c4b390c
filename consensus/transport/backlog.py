"""What waits to be sent to one peer: bounded, the oldest goes first, also out. Pure."""

from collections import deque
from dataclasses import dataclass

from consensus.raft.messages import SnapChunk
from consensus.transport.limits import Limits
from consensus.wire.errors import TooLarge
from consensus.wire.messages import Parcel, encode


@dataclass(frozen=True, slots=True)
class _Waiting:
    since: float
    payload: bytes
    chunk: bool


class Backlog:
    """Encoded messages in their order. Every message of Raft may be lost: what does not fit pushes
    out the oldest. Of a snapshot only the newest chunk waits, for a leader that sends another one
    has given up the one before."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: deque[_Waiting] = deque()
        self._chunk: _Waiting | None = None
        self.bytes = 0
        """Of what waits."""
        self.dropped = 0
        """How many messages were pushed out, or waited for too long."""

    def __len__(self) -> int:
        return len(self._waiting)

    def encoded(self, parcel: Parcel) -> bytes:
        """The payload of a frame. `ValueError` for what no core says, `TooLarge` for an entry that
        no peer reads: the log must never get one."""
        payload = encode(parcel)
        if len(payload) > self._limits.peer_bytes:
            raise TooLarge(len(payload), self._limits.peer_bytes)
        return payload

    def put(self, parcel: Parcel, now: float) -> None:
        """Let a message wait behind the others; raises as `encoded`."""
        one = _Waiting(now, self.encoded(parcel), isinstance(parcel.message, SnapChunk))
        if one.chunk:
            self._replace(one)
        self._waiting.append(one)
        self.bytes += len(one.payload)
        limits = self._limits
        while len(self._waiting) > limits.queue_messages or self.bytes > limits.queue_bytes:
            self._drop()

    def take(self) -> bytes:
        """The oldest payload; there must be one."""
        one = self._waiting.popleft()
        self.bytes -= len(one.payload)
        if one is self._chunk:
            self._chunk = None
        return one.payload

    def expire(self, before: float) -> None:
        """Drop what waits since then or longer."""
        while self._waiting and self._waiting[0].since <= before:
            self._drop()

    def _drop(self) -> None:
        self.take()
        self.dropped += 1

    def _replace(self, chunk: _Waiting) -> None:
        if self._chunk is not None:
            self._waiting.remove(self._chunk)
            self.bytes -= len(self._chunk.payload)
            self.dropped += 1
        self._chunk = chunk
