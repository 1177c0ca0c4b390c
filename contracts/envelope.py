"""The envelope of a task: CloudEvents 1.0 attributes as headers, the payload as body.

Binary content mode (CloudEvents 1.0.2, section 3; HTTP binding 3.1): any client reads a task
without knowing muster. The topic is the event's `type`. muster's own words travel beside it as
`muster-*` headers and are left out where they have their default. Header values outside
printable ASCII are percent-encoded as the HTTP binding (3.1.3.2) prescribes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from contracts.errors import DecodeError, InvalidTopic
from contracts.headers import count, epoch, flag, missing, nonempty, quoted, rfc3339, seconds, text
from contracts.quick import quick
from contracts.topics import check_topic

VERSION = 1
"""Envelope version written; readers accept this and any later one."""

SUSPECT = "muster-suspect"
"""Header of a task that was in the hands of a worker which died: it runs in a child process."""

RESERVED = "muster-reserved"
"""Header of a task that was put off to the slots reserved for it: the copy it was written for, and
the slots. It says nothing on any other copy, nor on a first one, which nobody has put off."""

DEFAULT_TENANT = "default"
"""Of a task that names no tenant."""

REPLAYED = "muster-replayed"
"""Header of a dead letter that somebody gave back, and of what it calls and publishes: the epoch
second of that decision. A stop from before it does not count for them."""

STREAM = "muster-stream"
"""Header of a task whose caller reads parts of its result."""

MAX_ID = 200
"""Characters in a task id: brokers put it into names and keys."""

_NO_EXTRA: Mapping[str, str] = MappingProxyType({})


def _no_extra() -> Mapping[str, str]:
    return _NO_EXTRA


class Priority(StrEnum):
    """How soon a task wants to start, among tasks of the same role."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


_NORMAL = Priority.NORMAL
"""To look it up in its class is slow (Python 3.11), and every task is compared with it."""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One task as it travels. Times are UTC epoch seconds, money is integer micro-dollars."""

    id: str
    topic: str
    source: str
    time: float
    body: bytes
    content_type: str = "application/json"
    tenant: str = DEFAULT_TENANT
    priority: Priority = Priority.NORMAL
    deadline: float | None = None
    budget: int | None = None
    copy: int = 0
    attempt: int = 0
    correlation: str | None = None
    reply: str | None = None
    fence: int | None = None
    subjects: tuple[str, ...] = ()
    suspect: bool = False
    reserved: str | None = None
    version: int = VERSION
    extra: Mapping[str, str] = field(default_factory=_no_extra)

    def again(self, *, attempt: int | None = None) -> "Envelope":
        """The next copy of this task: `copy` rises, `attempt` stays unless given. A used attempt
        has used what was reserved for it."""
        used = self.attempt if attempt is None else attempt
        reserved = self.reserved if used == self.attempt else None
        return replace(self, copy=self.copy + 1, attempt=used, reserved=reserved)


def encode(e: Envelope) -> dict[str, str]:
    """The headers of `e`; its body travels as it is."""
    headers = {
        "ce-specversion": "1.0",
        "ce-id": quoted(e.id),
        "ce-type": e.topic,
        "ce-source": quoted(e.source),
        "ce-time": rfc3339(e.time),
        "content-type": e.content_type,
        _VERSION: str(e.version),
    }
    if e.tenant != DEFAULT_TENANT:
        headers["muster-tenant"] = quoted(e.tenant)
    if e.priority is not _NORMAL:
        headers["muster-priority"] = e.priority.value
    if e.copy:
        headers["muster-copy"] = str(e.copy)
    if e.attempt:
        headers["muster-attempt"] = str(e.attempt)
    if e.reply is not None:
        headers["muster-reply"] = quoted(e.reply)
    if e.correlation is not None:
        headers["muster-correlation"] = quoted(e.correlation)
    usual = e.deadline is None and e.budget is None and e.fence is None and e.reserved is None
    if not usual or e.subjects or e.suspect:
        _encode_rare(e, headers)
    if e.extra:
        headers.update(e.extra)
    return headers


def _encode_rare(e: Envelope, headers: dict[str, str]) -> None:
    if e.deadline is not None:
        headers["muster-deadline"] = repr(e.deadline)
    if e.budget is not None:
        headers["muster-budget"] = str(e.budget)
    if e.fence is not None:
        headers["muster-fence"] = str(e.fence)
    if e.suspect:
        headers[SUSPECT] = "1"
    if e.reserved is not None:
        headers[RESERVED] = f"{e.copy};{e.reserved}"
    if e.subjects:
        headers["muster-subjects"] = ",".join(quote(s, safe="") for s in e.subjects)


def decode(headers: Mapping[str, str], body: bytes) -> Envelope:
    """The envelope in `headers` and `body`, or `DecodeError`; nothing else is ever raised.

    Headers muster does not know are kept in `extra`, so that they survive a round trip.
    """
    if "ce-id" not in headers:
        headers = {name.lower(): value for name, value in headers.items()}
    if headers.get("ce-specversion") != "1.0":
        raise DecodeError("ce-specversion", missing(headers, "ce-specversion", "is not 1.0"))
    return Envelope(
        id=_id(headers),
        topic=_topic(headers),
        source=text(headers, "ce-source"),
        time=epoch(headers),
        body=body,
        content_type=headers.get("content-type", "application/json"),
        **_own(headers),
    )


def _own(headers: Mapping[str, str]) -> dict[str, Any]:
    """The fields of muster's own headers that are there; defaults fill in for the rest."""
    if headers.get(_VERSION) == _WRITTEN and headers.keys() <= _USUAL:
        return {}
    found: dict[str, Any] = {}
    extra: dict[str, str] = {}
    for name, value in headers.items():
        if name in _READERS:
            found[name[7:]] = _READERS[name](name, value)
        elif name not in _APART:
            extra[name] = value
    if RESERVED in headers:
        found["reserved"] = _reserved(headers)
    if extra:
        found["extra"] = MappingProxyType(extra)
    return found


def _id(headers: Mapping[str, str]) -> str:
    value = text(headers, "ce-id")
    if len(value) > MAX_ID or not value.isprintable():
        raise DecodeError("ce-id", f"is longer than {MAX_ID} characters or not printable")
    return value


def _topic(headers: Mapping[str, str]) -> str:
    try:
        return check_topic(text(headers, "ce-type"))
    except InvalidTopic as error:
        raise DecodeError("ce-type", f"is not a topic: {error.details}") from error


def _priority(name: str, value: str) -> Priority:
    try:
        return Priority(value)
    except ValueError as error:
        raise DecodeError(name, f"is {value[:40]!r}, expected high, normal or low") from error


def _subjects(name: str, value: str) -> tuple[str, ...]:
    return tuple(nonempty(name, part) for part in value.split(","))


def _reserved(headers: Mapping[str, str]) -> str | None:
    """What was reserved for this very copy."""
    copy, _, slots = headers[RESERVED].partition(";")
    return slots if copy == headers.get("muster-copy") and copy != "0" and slots else None


def _version(name: str, value: str) -> int:
    version = count(name, value)
    if version < 1:
        raise DecodeError(name, "is below 1")
    return version


_CLOUDEVENTS = frozenset(
    {"ce-specversion", "ce-id", "ce-type", "ce-source", "ce-time", "content-type"}
)
_APART = _CLOUDEVENTS | {RESERVED}
_VERSION, _WRITTEN = "muster-version", str(VERSION)
_USUAL = _CLOUDEVENTS | {_VERSION}
"""Headers of a task that says nothing but what it is: as most do."""

_READERS: Mapping[str, Any] = MappingProxyType(
    {
        _VERSION: _version,
        "muster-tenant": nonempty,
        "muster-priority": _priority,
        "muster-deadline": seconds,
        "muster-budget": count,
        "muster-copy": count,
        "muster-attempt": count,
        "muster-correlation": nonempty,
        "muster-reply": nonempty,
        "muster-fence": count,
        "muster-subjects": _subjects,
        SUSPECT: flag,
    }
)
