"""Tasks of programs that know no groups: what they put into a fleet's inlet, as messages. Pure.

Where tasks are routed when they are published (Redis, Kafka) such a program cannot do that. It puts
a CloudEvent into one place, which the documentation of the broker names, and the fleet routes it.
Both content modes are read; attributes may be called `ce-…` or, as Kafka's binding has it, `ce_…`.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from pydantic_core import from_json, to_json

from bus.backend import Lane, LaneName, Message
from bus.examined import Danger
from bus.lanes import slice_of
from contracts.envelope import DEFAULT_TENANT, MAX_ID, REPLAYED, RESERVED, SUSPECT
from contracts.errors import DecodeError, InvalidTopic
from contracts.headers import quoted, text
from contracts.topics import publishable

STRUCTURED = "application/cloudevents+json"

SOURCE = "/muster/in"
"""Who has published a task that does not say it."""

_OURS = frozenset(
    {"muster-copy", "muster-attempt", "muster-fence", SUSPECT, RESERVED, REPLAYED, "muster-version"}
)
"""What the fleet keeps account of itself."""

_EXTENSIONS: Mapping[str, str] = MappingProxyType(
    {
        name.replace("-", ""): name
        for name in (
            "muster-tenant",
            "muster-priority",
            "muster-deadline",
            "muster-budget",
            "muster-correlation",
            "muster-reply",
            "muster-subjects",
        )
    }
)
"""Our headers as extension attributes of an event in structured mode."""


def message_of(headers: Mapping[str, str], body: bytes, *, place: str) -> Message:
    """The task that somebody has put in. `place`: its id where it names none, and then the same
    for the same task. Raises `DecodeError` for what cannot be routed; what a role cannot read is
    for its worker to judge."""
    given = {name.lower(): value for name, value in headers.items()}
    kind = given.get("content-type", "").partition(";")[0].strip().lower()
    if kind == STRUCTURED:
        found, body = _structured(body)
    else:
        found = dict(_binary(given))
    for name in _OURS:
        found.pop(name, None)
    found.setdefault("ce-specversion", "1.0")
    found.setdefault("ce-id", quoted(place))
    found.setdefault("ce-source", SOURCE)
    return Message(_id(found), 0, _topic(found), body, MappingProxyType(found), _lane(found))


def parked(count: int, topics: Iterable[str], look: str) -> Iterator[Danger]:
    """What a person is told of tasks that no group wants yet, of these topics among others; `look`
    shows them."""
    if count:
        named = ", ".join(sorted(set(topics))) or "of no topic"
        yield Danger(
            name="ingress",
            said=f"{count:,} tasks that others put in are parked: {named}",
            why="no role listens to their topics, or they are no tasks at all",
            do=f"start a role that does; see them: {look}",
            promise=19,
        )


def _binary(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in given.items():
        if name.startswith("ce_"):
            yield f"ce-{name[3:]}", quoted(value)
        else:
            yield name, value


def _structured(body: bytes) -> tuple[dict[str, str], bytes]:
    try:
        event = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise DecodeError("data", f"is no JSON: {error}") from error
    if not isinstance(event, dict):
        raise DecodeError("data", "is no CloudEvent in structured mode")
    payload = _payload(event)
    found = {"content-type": str(event.pop("datacontenttype", "application/json"))}
    for name, value in event.items():
        header = _EXTENSIONS.get(name, f"ce-{name}")
        found[header] = quoted(value if isinstance(value, str) else to_json(value).decode())
    return found, payload


def _payload(event: dict[str, Any]) -> bytes:
    coded, data = event.pop("data_base64", None), event.pop("data", None)
    if coded is None:
        return to_json(data)
    try:
        return base64.b64decode(coded, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise DecodeError("data_base64", f"is not base64: {error}") from error


def _id(found: Mapping[str, str]) -> str:
    value = text(found, "ce-id")
    if len(value) > MAX_ID or not value.isprintable():
        raise DecodeError("ce-id", f"is longer than {MAX_ID} characters or not printable")
    return value


def _topic(found: Mapping[str, str]) -> str:
    try:
        return publishable(text(found, "ce-type"))
    except InvalidTopic as error:
        raise DecodeError("ce-type", f"is not a topic: {error.details}") from error


def _lane(found: Mapping[str, str]) -> Lane:
    wanted = found.get("muster-priority")
    name = LaneName(wanted) if wanted in {"high", "low"} else LaneName.NORMAL
    tenant = text(found, "muster-tenant") if found.get("muster-tenant") else DEFAULT_TENANT
    return Lane(name, slice_of(tenant))
