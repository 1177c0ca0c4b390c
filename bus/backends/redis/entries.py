"""What lies in the inlet: entries of a stream, as other programs write them. Pure.

The field `data` of an entry is the body, its other fields are headers. What FastStream publishes is
one field `__data__` that holds both.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

BODY = b"data"

_WRAPPED = b"__data__"
_MAGIC = b"\x89BIN\r\n\x1a\n\x00\x01"
"""How FastStream's binary format begins: its mark, and its version 1."""


@dataclass(frozen=True, slots=True)
class Entry:
    """`id`: as the stream names it."""

    id: str
    headers: Mapping[str, str]
    body: bytes


def entries_of(answer: Sequence[Sequence[Any]]) -> list[Entry]:
    """What a read has brought."""
    return [_entry(id_, fields) for id_, fields in answer if fields]


def _entry(id_: bytes, fields: Sequence[bytes]) -> Entry:
    named = dict(zip(fields[::2], fields[1::2], strict=True))
    if set(named) == {_WRAPPED}:
        return Entry(id_.decode(), *_unwrapped(named[_WRAPPED]))
    headers = {_text(name): _text(value) for name, value in named.items() if name != BODY}
    return Entry(id_.decode(), MappingProxyType(headers), named.get(BODY, b""))


def _unwrapped(raw: bytes) -> tuple[Mapping[str, str], bytes]:
    """Big-endian: after the mark, where the headers begin and where the body does; then how many
    headers there are, and each name and value behind its length."""
    if not raw.startswith(_MAGIC):
        return {}, raw
    try:
        at, end = struct.unpack_from(">II", raw, len(_MAGIC))
        (count,) = struct.unpack_from(">H", raw, at)
        at += 2
        texts = []
        for _ in range(2 * count):
            (size,) = struct.unpack_from(">H", raw, at)
            texts.append(_text(raw[at + 2 : at + 2 + size]))
            at += 2 + size
    except struct.error:
        return {}, raw
    return MappingProxyType(dict(zip(texts[::2], texts[1::2], strict=True))), raw[end:]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
