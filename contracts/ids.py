"""Identifiers of tasks: ordered by time, or derived so that a repetition finds itself."""

import hashlib
import os
import uuid
from collections.abc import Mapping
from types import MappingProxyType

_NAMESPACE = uuid.UUID("6f2f2f0e-5d0b-5a52-9d6e-6d7573746572")

_VARIANT: Mapping[str, str] = MappingProxyType(
    {f"{digit:x}": f"{0b1000 | digit & 0b11:x}" for digit in range(16)}
)
"""Four random bits, of which the two of the variant take the place of the higher ones."""


def new_id(now: float) -> str:
    """A UUID version 7 (RFC 9562, section 5.7) for the wall time `now`: they sort by time."""
    millis = f"{int(now * 1000) & 0xFFFF_FFFF_FFFF:012x}"
    tail = os.urandom(10).hex()
    variant = _VARIANT[tail[3]]
    return f"{millis[:8]}-{millis[8:]}-7{tail[:3]}-{variant}{tail[4:7]}-{tail[7:19]}"


def child_id(parent: str, number: int, role: str, payload: bytes) -> str:
    """The id of call `number` of `parent`: a parent that runs again names the same children."""
    digest = hashlib.sha256(payload).hexdigest()
    return str(uuid.uuid5(_NAMESPACE, f"call\n{parent}\n{number}\n{role}\n{digest}"))


def key_id(tenant: str, topic: str, key: str) -> str:
    """The id of a task published with an idempotency key: the key *is* the id."""
    return str(uuid.uuid5(_NAMESPACE, f"key\n{tenant}\n{topic}\n{key}"))


def tick_id(schedule: str, tick: float) -> str:
    """The id of the task that a schedule publishes for `tick`, whoever publishes it."""
    return str(uuid.uuid5(_NAMESPACE, f"tick\n{schedule}\n{tick:.3f}"))


def content_id(headers: dict[str, str], body: bytes) -> str:
    """The name of bytes that carry no readable id: sha256 over body and sorted headers."""
    digest = hashlib.sha256(body)
    for name in sorted(headers):
        digest.update(f"\n{name}: {headers[name]}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
