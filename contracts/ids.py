"""Identifiers of tasks: ordered by time, or derived so that a repetition finds itself."""

import hashlib
import os
import uuid

_NAMESPACE = uuid.UUID("6f2f2f0e-5d0b-5a52-9d6e-6d7573746572")


def new_id(now: float) -> str:
    """A UUID version 7 (RFC 9562, section 5.7) for the wall time `now`: they sort by time."""
    millis = int(now * 1000) & 0xFFFF_FFFF_FFFF
    tail = int.from_bytes(os.urandom(10), "big")
    high = (millis << 16) | 0x7000 | (tail >> 68)
    low = (0b10 << 62) | (tail & 0x3FFF_FFFF_FFFF_FFFF)
    text = f"{high:016x}{low:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


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
