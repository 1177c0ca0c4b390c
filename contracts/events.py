"""What happened to tasks, told while it happens.

Events travel in batches (CloudEvents JSON batch format, 1.0.2) on the topic `muster.events`.
An event's id is made of what it tells, so a batch that arrives twice tells nothing twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from pydantic_core import from_json, to_json

from contracts.envelope import DEFAULT_TENANT
from contracts.errors import DecodeError

CONTENT_TYPE = "application/cloudevents-batch+json"


class Kind(StrEnum):
    """What an event tells; the last three are terminal."""

    STARTED = "started"
    PROGRESS = "progress"
    RETRIED = "retried"
    SNOOZED = "snoozed"
    RETURNED = "returned"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({Kind.SUCCEEDED, Kind.FAILED, Kind.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to one run of one task. `data` is small, flat and JSON."""

    kind: Kind
    at: float
    task: str
    topic: str
    role: str
    copy: int
    attempt: int
    worker: str
    pid: int
    tenant: str = DEFAULT_TENANT
    correlation: str | None = None
    number: int = 0
    data: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def id(self) -> str:
        """Equal for the same happening, however often it is told."""
        return f"{self.task}/{self.copy}/{self.role}/{self.worker}/{self.kind}/{self.number}"


def encode_events(events: Sequence[Event]) -> bytes:
    """A CloudEvents batch of `events`."""
    return to_json([_to_cloudevent(event) for event in events])


def _to_cloudevent(e: Event) -> dict[str, Any]:
    """Attributes tell kind and task; `data` tells the rest, without what has its default."""
    data: dict[str, Any] = {
        "topic": e.topic,
        "role": e.role,
        "copy": e.copy,
        "attempt": e.attempt,
        "worker": e.worker,
        "pid": e.pid,
        "at": e.at,
    }
    if e.tenant != DEFAULT_TENANT:
        data["tenant"] = e.tenant
    if e.correlation is not None:
        data["correlation"] = e.correlation
    if e.number:
        data["number"] = e.number
    if e.data:
        data["data"] = dict(e.data)
    return {
        "specversion": "1.0",
        "id": e.id,
        "type": _TYPE + e.kind,
        "source": f"/muster/{e.role}/{e.worker}",
        "subject": e.task,
        "time": datetime.fromtimestamp(e.at, UTC).isoformat(),
        "data": data,
    }


_TYPE = "muster.task."
_NEEDED = ("topic", "role", "copy", "attempt", "worker", "pid", "at")
_DEFAULTED = ("tenant", "correlation", "number")


def decode_events(body: bytes) -> list[Event]:
    """The events of a batch, or `DecodeError`; kinds this version does not know are left out."""
    try:
        batch = from_json(body)
        return [_from_cloudevent(item) for item in batch if _known(item)]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DecodeError("events", f"is not a batch of events: {error}") from error


def _known(item: Mapping[str, Any]) -> bool:
    return item["type"].removeprefix(_TYPE) in Kind.__members__.values()


def _from_cloudevent(item: Mapping[str, Any]) -> Event:
    data = item["data"]
    fields = {name: data[name] for name in _NEEDED}
    fields |= {name: data[name] for name in _DEFAULTED if name in data}
    return Event(
        kind=Kind(item["type"].removeprefix(_TYPE)),
        task=item["subject"],
        data=MappingProxyType(dict(data.get("data", {}))),
        **fields,
    )
