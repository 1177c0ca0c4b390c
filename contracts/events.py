"""What happened to tasks, told while it happens.

Events travel in batches (CloudEvents JSON batch format, 1.0.2) on the topic `muster.events`.
An event's id is made of what it tells, so a batch that arrives twice tells nothing twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from math import floor
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from contracts.envelope import DEFAULT_TENANT, Envelope, Priority
from contracts.errors import DecodeError
from contracts.quick import quick

CONTENT_TYPE = "application/cloudevents-batch+json"


MARK = "muster-mark"
"""Header of an empty batch: whoever gets it has got all that was accepted before it was sent."""


class Kind(StrEnum):
    """What an event tells. `published` is told by whoever publishes the task and `replayed` by
    whoever gives a dead letter back, the others by its workers. Those of an auction tell that a
    task was offered, who got it, and that a round came to nothing."""

    PUBLISHED = "published"
    REPLAYED = "replayed"
    STARTED = "started"
    PROGRESS = "progress"
    RETRIED = "retried"
    SNOOZED = "snoozed"
    RETURNED = "returned"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    AUCTION_OPENED = "auction.opened"
    AUCTION_AWARDED = "auction.awarded"
    AUCTION_CLOSED = "auction.closed"


_PUBLISHED, _REPLAYED, _NORMAL = Kind.PUBLISHED, Kind.REPLAYED, Priority.NORMAL
"""To look one up in its class is slow (Python 3.11), and every event is compared with them."""

TERMINAL = frozenset({Kind.SUCCEEDED, Kind.FAILED, Kind.CANCELLED})

TOLD_BY_PUBLISHERS = frozenset({Kind.PUBLISHED, Kind.REPLAYED})
"""Kinds that tell of no run, nor of an auction."""

OF_AUCTIONS = frozenset({Kind.AUCTION_OPENED, Kind.AUCTION_AWARDED, Kind.AUCTION_CLOSED})

OF_NO_RUN = TOLD_BY_PUBLISHERS | OF_AUCTIONS
"""Kinds that tell of no run."""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to one run of one task. Times are UTC epoch seconds; `published` is
    the task's own, the same in all its events. `data` is flat and JSON.

    A `published` or `replayed` task has no `role` unless it is directed to one, and is told by
    `worker`, the source that did it. Its `data` has what is not the default of `priority`, `due`,
    `deadline`, `subjects` and `by`. `data` of a terminal event has the JSON text of `payload` and
    `result`; for one that is too large, its size as `payload_bytes` or `result_bytes`.

    An event of an auction is told by the first who knows, in the same words as by any other: its
    `worker` is the one that got the task, else empty, `number` the award's token, or the round.
    `data` has the auction's `key`, and the JSON text of the `bids` of a round.
    """

    kind: Kind
    at: float
    task: str
    topic: str
    role: str
    copy: int
    attempt: int
    worker: str
    pid: int
    published: float = 0.0
    tenant: str = DEFAULT_TENANT
    correlation: str | None = None
    number: int = 0
    data: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def id(self) -> str:
        """Equal for the same happening, however often and by whomever it is told."""
        if self.kind is _PUBLISHED or self.kind is _REPLAYED:
            return f"{self.task}/{self.copy}/{self.role}/{_KINDS[self.kind]}"
        return (
            f"{self.task}/{self.copy}/{self.role}/{self.worker}/{_KINDS[self.kind]}/{self.number}"
        )


Publication = tuple[Envelope, str, float]
"""A task that is published, the role it is directed to (empty: none), when it is due (0: now)."""


def encode_events(events: Sequence[Event]) -> bytes:
    """A CloudEvents batch of `events`, in their order but for those that tell of publishing: they
    come last, those of one source as one item, a few bytes each."""
    items: list[dict[str, Any]] = []
    rows: dict[tuple[str, int], list[list[Any]]] = {}
    for event in events:
        if event.kind is _PUBLISHED and not (event.copy or event.attempt or event.number):
            rows.setdefault((event.worker, event.pid), []).append(_to_row(event))
        else:
            items.append(_to_cloudevent(event))
    return to_json([*items, *(_table(*source, found) for source, found in rows.items())])


def encode_published(source: str, tasks: Sequence[Publication]) -> bytes:
    """As `encode_events` for the events of tasks that `source` publishes, which need not be made:
    whoever publishes pays for each of them."""
    rows: list[list[Any]] = []
    others: list[dict[str, Any]] = []
    for task, role, due in tasks:
        if task.copy or task.attempt:
            others.append(_to_cloudevent(_published(source, task, role, due)))
        elif role or due or not _is_plain(task):
            rows.append(_to_row(_published(source, task, role, due)))
        else:
            rows.append([task.id, task.topic, task.time, task.time])
    return to_json([*others, _table(source, 0, rows)] if rows else others)


def _is_plain(task: Envelope) -> bool:
    """Whether a row tells it by its first columns."""
    usual = task.tenant == DEFAULT_TENANT and task.priority is _NORMAL and not task.subjects
    return usual and task.deadline is None and task.correlation is None


def _published(source: str, task: Envelope, role: str, due: float) -> Event:
    data: dict[str, object] = {}
    if task.priority is not _NORMAL:
        data["priority"] = task.priority
    if due:
        data["due"] = due
    if task.deadline is not None:
        data["deadline"] = task.deadline
    if task.subjects:
        data["subjects"] = list(task.subjects)
    return Event(
        kind=_PUBLISHED,
        at=task.time,
        task=task.id,
        topic=task.topic,
        role=role,
        copy=task.copy,
        attempt=task.attempt,
        worker=source,
        pid=0,
        published=task.time,
        tenant=task.tenant,
        correlation=task.correlation,
        data=data,
    )


def _to_row(e: Event) -> list[Any]:
    """What one task of a table has of its own; defaults at the end are cut."""
    row: list[Any] = [e.task, e.topic, e.published, e.at, dict(e.data)]
    row += [e.tenant, e.role, e.correlation]
    while row[-1] == _DEFAULTS[len(row) - 1]:
        row.pop()
    return row


def _table(worker: str, pid: int, rows: list[list[Any]]) -> dict[str, Any]:
    """Tasks that one source has published, as one CloudEvent."""
    return {
        "specversion": "1.0",
        "id": f"{rows[0][0]}/{len(rows)}/{Kind.PUBLISHED}",
        "type": _TABLE,
        "source": worker,
        "time": _rfc3339(rows[0][3]),
        "data": {"worker": worker, "pid": pid, "tasks": rows},
    }


def _from_table(data: Mapping[str, Any]) -> list[Event]:
    same = {"kind": Kind.PUBLISHED, "worker": data["worker"], "pid": data["pid"]}
    same |= {"copy": 0, "attempt": 0}
    rows = ([*row, *_DEFAULTS[len(row) :]] for row in data["tasks"])
    return [_checked({**same, **dict(zip(_COLUMNS, row, strict=True))}) for row in rows]


def _rfc3339(at: float) -> str:
    second = floor(at)
    return f"{_second(second)}.{int((at - second) * 1e6):06d}+00:00"


@lru_cache(maxsize=16)
def _second(second: int) -> str:
    """A whole second; most events of a batch share it."""
    return datetime.fromtimestamp(second, UTC).isoformat()[:19]


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
    if e.published:
        data["published"] = e.published
    if e.tenant != DEFAULT_TENANT:
        data["tenant"] = e.tenant
    if e.correlation is not None:
        data["correlation"] = e.correlation
    if e.number:
        data["number"] = e.number
    if e.data:
        data["data"] = e.data if type(e.data) is dict else dict(e.data)
    return {
        "specversion": "1.0",
        "id": e.id,
        "type": _TYPES[e.kind],
        "source": f"/muster/{e.role}/{e.worker}",
        "subject": e.task,
        "time": _rfc3339(e.at),
        "data": data,
    }


_TYPE = "muster.task."
_KINDS: Mapping[Kind, str] = MappingProxyType({kind: kind.value for kind in Kind})
"""As plain text, which is quicker to put into another."""

_TYPES: Mapping[Kind, str] = MappingProxyType({kind: _TYPE + kind.value for kind in Kind})
_TABLE = "muster.tasks.published"
_COLUMNS = ("task", "topic", "published", "at", "data", "tenant", "role", "correlation")
_DEFAULTS: tuple[Any, ...] = (None, None, None, None, {}, DEFAULT_TENANT, "", None)
"""Of a row of a table; what has None first is always there."""

_NEEDED = ("topic", "role", "copy", "attempt", "worker", "pid", "at")
_DEFAULTED = ("published", "tenant", "correlation", "number")


def decode_events(body: bytes) -> list[Event]:
    """The events of a batch, or `DecodeError`; kinds this version does not know are left out."""
    try:
        return [event for item in from_json(body) for event in events_of(item)]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DecodeError("events", f"is not a batch of events: {error}") from error


def events_of(item: Mapping[str, Any]) -> list[Event]:
    """What one item of a batch tells of tasks: nothing if it tells of something else."""
    if item["type"] == _TABLE:
        return _from_table(item["data"])
    known = item["type"].removeprefix(_TYPE) in Kind.__members__.values()
    return [_from_cloudevent(item)] if known else []


def _from_cloudevent(item: Mapping[str, Any]) -> Event:
    data = item["data"]
    fields = {name: data[name] for name in _NEEDED}
    fields |= {name: data[name] for name in _DEFAULTED if name in data}
    kind = Kind(item["type"].removeprefix(_TYPE))
    return _checked({"kind": kind, "task": item["subject"], "data": data.get("data", {}), **fields})


_ADAPTER = TypeAdapter(Event)


def _checked(fields: dict[str, Any]) -> Event:
    """The event, its types as they should be; what it holds cannot be changed any more."""
    event = _ADAPTER.validate_python(fields)
    return replace(event, data=MappingProxyType(dict(event.data)))
