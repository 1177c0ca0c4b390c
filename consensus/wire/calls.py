"""What clients ask and nodes answer: the number of a call, then bytes that mean nothing here."""

import struct
from typing import NamedTuple

from consensus.wire.errors import Unreadable

_NUMBER = struct.Struct(">Q")


class Call(NamedTuple):
    """A part of a call. Its `number` is the caller's, once in each connection."""

    number: int
    body: bytes


def encode_call(number: int, body: bytes) -> bytes:
    """The payload of a frame that belongs to a call."""
    return _NUMBER.pack(number) + body


def decode_call(payload: bytes) -> Call:
    """What `encode_call` made; `Unreadable` for any other bytes."""
    if len(payload) < _NUMBER.size:
        raise Unreadable("a call without a number")
    (number,) = _NUMBER.unpack_from(payload)
    return Call(number, payload[_NUMBER.size :])
