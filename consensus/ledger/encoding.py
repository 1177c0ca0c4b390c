"""Records as bytes: each value in exactly one way, so that equal states have equal bytes.

A record is a fixed part, then the variable fields in the order of the class. In the fixed part,
big-endian, a field takes 8 bytes for an `int` (unsigned; `Signed` is two's complement), 1 for a
`bool` (0 or 1) or an `IntEnum` of small numbers, 2 for the length in bytes of a variable one.
Variable are `str` (UTF-8), `bytes` and `tuple[str, ...]` (UTF-8, the words divided by newlines,
which no word contains). Nothing is padded, nothing optional.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import fields
from enum import IntEnum
from typing import Any, Generic, NewType, TypeVar

T = TypeVar("T")

Signed = NewType("Signed", int)
"""An integer that may be negative, of 64 bits."""


class Malformed(Exception):
    """Bytes that are no record, or a value that no record can hold. Stays in this package."""


def _same(value: Any) -> Any:
    return value


def _words(data: bytes) -> tuple[str, ...]:
    return tuple(data.decode().split("\n")) if data else ()


def _truth(value: int) -> bool:
    if value > 1:
        raise Malformed(f"{value} is no truth value")
    return value == 1


_VARIABLE: dict[Any, tuple[Callable[[Any], bytes], Callable[[bytes], Any]]] = {
    str: (str.encode, bytes.decode),
    bytes: (_same, _same),
    tuple[str, ...]: (lambda words: "\n".join(words).encode(), _words),
}
_FIXED: dict[Any, tuple[str, Callable[[Any], Any]]] = {
    int: ("Q", _same),
    Signed: ("q", _same),
    bool: ("B", _truth),
}


class Layout(Generic[T]):
    """How the fields of a dataclass lie in bytes, but for the last few of them, named `but`."""

    def __init__(self, cls: Callable[..., T], *but: str) -> None:
        flat = [field for field in fields(cls) if field.name not in but]  # type: ignore[arg-type]
        kinds: list[Any] = [field.type for field in flat]
        self._cls = cls
        self._names = tuple(field.name for field in flat)
        self._fixed = struct.Struct(">" + "".join(_code(kind) for kind in kinds))
        self._encoders = tuple(_VARIABLE[k][0] if k in _VARIABLE else None for k in kinds)
        self._plain = all(kind in (int, Signed) for kind in kinds)
        self._decoders = tuple((k in _VARIABLE, _decoder(k)) for k in kinds)

    def pack(self, value: T) -> bytes:
        """`value` as bytes; raises `Malformed` if it does not fit."""
        numbers: list[Any] = []
        tail: list[bytes] = []
        for name, encoder in zip(self._names, self._encoders, strict=True):
            found = getattr(value, name)
            if encoder is not None:
                data = encoder(found)
                tail.append(data)
                found = len(data)
            numbers.append(found)
        try:
            return self._fixed.pack(*numbers) + b"".join(tail)
        except struct.error as error:
            raise Malformed(str(error)) from error

    def unpack(self, data: bytes, at: int = 0) -> tuple[T, int]:
        """The record that begins at `at`, and where it ends; raises `Malformed`."""
        try:
            numbers = self._fixed.unpack_from(data, at)
            at += self._fixed.size
            if self._plain:
                return self._cls(*numbers), at
            return self._decoded(data, at, numbers)
        except (struct.error, ValueError) as error:  # UnicodeDecodeError is a ValueError
            raise Malformed(str(error)) from error

    def _decoded(self, data: bytes, at: int, numbers: Sequence[int]) -> tuple[T, int]:
        values = []
        for number, (variable, decode) in zip(numbers, self._decoders, strict=True):
            if not variable:
                values.append(decode(number))
                continue
            end = at + number
            if end > len(data):
                raise Malformed("it ends inside a field")
            values.append(decode(data[at:end]))
            at = end
        return self._cls(*values), at


def _code(kind: Any) -> str:
    if kind in _VARIABLE:
        return "H"
    return "B" if _is_enum(kind) else _FIXED[kind][0]


def _decoder(kind: Any) -> Callable[[Any], Any]:
    if kind in _VARIABLE:
        return _VARIABLE[kind][1]
    return kind if _is_enum(kind) else _FIXED[kind][1]


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, IntEnum)
