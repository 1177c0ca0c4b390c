"""Records that the client library cannot read, of foreign publishers: names of headers that are no
UTF-8, and whole batches in a coding it does not know. Pure.

Whatever lies in a log is read somehow: what cannot be would hold up everything behind it.
"""

import gzip
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_HEAD = struct.Struct(">qiibIhiqqqhii")
_LENGTH = struct.Struct(">qi")
_CODEC = 0x07
_APPENDED = 0x08
"""The time of all its records is the broker's."""

_PLAIN, _GZIP = 0, 1


@dataclass(frozen=True, slots=True)
class Raw:
    """A record as the library would give it; `timestamp` in milliseconds."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


def split(content: bytes) -> Iterator[bytes]:
    """The batches of what was fetched; the last one may have been cut off, and is left out."""
    start = 0
    while start + _LENGTH.size <= len(content):
        end = start + _LENGTH.size + _LENGTH.unpack_from(content, start)[1]
        if end <= len(content):
            yield content[start:end]
        start = end


def after(content: bytes) -> int:
    """The offset after the last whole batch of what was fetched, whatever it holds; 0 without
    one."""
    last = 0
    for batch in split(content):
        if len(batch) >= _HEAD.size:
            base, _, _, _, _, _, delta, *_ = _HEAD.unpack_from(batch)
            last = base + delta + 1
    return int(last)


def records(batch: bytes) -> Iterator[Raw]:
    """The records of a batch; of one that means nothing, as many empty ones as it has offsets."""
    base, _, _, _, _, attributes, last, first_time, max_time, *_, count = _HEAD.unpack_from(batch)
    appended = bool(attributes & _APPENDED)
    try:
        cursor = _Cursor(_plain(batch[_HEAD.size :], attributes & _CODEC))
        found = [cursor.record(base, first_time) for _ in range(count)]
    except (ValueError, IndexError, EOFError, OSError):
        found = [Raw(base + n, max_time, None, None, ()) for n in range(last + 1)]
    for each in found:
        time = max_time if appended else each.timestamp
        yield Raw(each.offset, time, each.key, each.value, each.headers)


def _plain(payload: bytes, codec: int) -> bytes:
    if codec == _PLAIN:
        return payload
    if codec == _GZIP:
        return gzip.decompress(payload)
    raise ValueError(f"unknown coding {codec}")


class _Cursor:
    """Reads on and on from the records of a batch."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._at = 0

    def record(self, base: int, first_time: int) -> Raw:
        """The next one."""
        self._number()  # its length
        self._at += 1  # its attributes, of which none is used
        time = first_time + self._number()
        offset = base + self._number()
        key, value = self._bytes(), self._bytes()
        headers = [
            ((self._bytes() or b"").decode("utf-8", "backslashreplace"), self._bytes())
            for _ in range(self._number())
        ]
        return Raw(offset, time, key, value, headers)

    def _number(self) -> int:
        """A number as Kafka writes it: seven bits of each byte, its sign in the lowest one."""
        found = shift = 0
        while True:
            byte = self._payload[self._at]
            self._at += 1
            found |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (found >> 1) ^ -(found & 1)
            shift += 7

    def _bytes(self) -> bytes | None:
        length = self._number()
        if length < 0:
            return None
        start, self._at = self._at, self._at + length
        if self._at > len(self._payload):
            raise IndexError("a record is longer than its batch")
        return self._payload[start : self._at]
