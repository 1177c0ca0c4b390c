"""Frames between a worker and the child process that runs one task for it.

A frame is a head of JSON and a body of bytes that nobody needs to quote, each with its length
before it. The two ends are of one version of this package, on one machine.
"""

import asyncio
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from contracts.outcomes import Cancelled, Done, Outcome, Reason, Reject, Retry, Snooze

_LENGTHS = struct.Struct("!II")

_LARGEST = 256 * 1024 * 1024
"""Bytes of one part: more is not a frame but something a handler wrote on our socket."""


@dataclass(frozen=True, slots=True)
class Frame:
    """`say` names what it is; the rest of `head` is its arguments."""

    say: str
    head: Mapping[str, Any] = field(default_factory=dict)
    body: bytes = b""

    def encode(self) -> bytes:
        """As bytes. Values that JSON cannot hold are told as text, text that is none as whole
        characters."""
        told = {**self.head, "say": self.say}
        try:
            head = _json(told)
        except (PydanticSerializationError, ValueError):
            head = _json(_whole(told))
        return _LENGTHS.pack(len(head), len(self.body)) + head + self.body


def _json(head: Any) -> bytes:
    return to_json(head, fallback=str, inf_nan_mode="constants")


def _whole(value: Any) -> Any:
    """`value` without halves of characters, which no encoding takes."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {_whole(str(name)): _whole(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(each) for each in value]
    return str(value).encode("utf-8", "replace").decode()


def _decode(head: bytes, body: bytes) -> Frame:
    values = from_json(head)
    return Frame(values.pop("say"), values, body)


def _lengths(prefix: bytes) -> tuple[int, int]:
    head, body = _LENGTHS.unpack(prefix)
    if max(head, body) > _LARGEST:
        raise ValueError(f"a frame of {max(head, body):,} bytes")
    return head, body


async def read(reader: asyncio.StreamReader) -> Frame | None:
    """The next frame; None at the end. Raises `ValueError` for bytes that are no frame."""
    try:
        head, body = _lengths(await reader.readexactly(_LENGTHS.size))
        return _decode(await reader.readexactly(head), await reader.readexactly(body))
    except (asyncio.IncompleteReadError, OSError):
        return None


def receive(channel: socket.socket) -> Frame | None:
    """The next frame, waited for; None at the end."""
    try:
        head, body = _lengths(_exactly(channel, _LENGTHS.size))
        return _decode(_exactly(channel, head), _exactly(channel, body))
    except (EOFError, OSError):
        return None


def _exactly(channel: socket.socket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        part = channel.recv(min(size - len(found), 1 << 20))
        if not part:
            raise EOFError
        found += part
    return bytes(found)


def from_outcome(outcome: Outcome) -> Frame:
    """The frame that ends a run."""
    match outcome:
        case Done(value=value):
            return Frame("done", body=value)
        case Retry(after=after, reason=reason, last=last, error=error):
            told = {"after": after, "reason": reason, "last": last, "error": error}
            return Frame("retry", told)
        case Snooze(after=after, reason=reason):
            return Frame("snooze", {"after": after, "reason": reason})
        case Reject(reason=reason, kind=kind, error=error):
            return Frame("reject", {"reason": reason, "kind": kind, "error": error})
        case Cancelled(reason=reason):
            return Frame("cancelled", {"reason": reason})


def to_outcome(frame: Frame) -> Outcome | None:
    """The outcome a frame tells, or None if it tells something else."""
    head = frame.head
    match frame.say:
        case "done":
            return Done(frame.body)
        case "retry":
            last = Reason(head["last"])
            return Retry(head["after"], head["reason"], last, head["error"])
        case "snooze":
            return Snooze(head["after"], head["reason"])
        case "reject":
            return Reject(head["reason"], Reason(head["kind"]), head["error"])
        case "cancelled":
            return Cancelled(head["reason"])
    return None
