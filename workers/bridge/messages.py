"""What crosses: foreign messages, CloudEvents in both modes, and how they are read and written.

CloudEvents 1.0.2; its bindings name attributes `ce-…` (HTTP, NATS), `ce_…` (Kafka) and
`cloudEvents:…` or `cloudEvents_…` (AMQP). Structured mode is the JSON format (section 3).
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from pydantic_core import from_json, to_json

from contracts.headers import quoted
from workers.bridge.errors import NotFit

STRUCTURED = "application/cloudevents+json"
_BATCH = "application/cloudevents-batch+json"
_PREFIXES = ("ce-", "ce_", "cloudevents:", "cloudevents_")

FLEET = "musterfleet"
"""Extension attribute of what a fleet sends: its name, so that it does not take it back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A message as it came. `own_id`: what the foreign broker calls it, the same at each delivery;
    empty where it has no such name."""

    body: bytes
    headers: Mapping[str, str]
    own_id: str = ""


@dataclass(frozen=True, slots=True)
class Incoming:
    """What a foreign message says. `key`: the same for the same thing; None where nothing tells.
    `fleet`: which fleet sent it, empty for none."""

    payload: Any
    key: str | None
    fleet: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """A CloudEvent on its way out. `attributes` without prefix; `data` is JSON bytes."""

    attributes: Mapping[str, str]
    data: bytes
    content_type: str = "application/json"

    def binary(self, prefix: str) -> tuple[dict[str, str], bytes]:
        """Headers and body in binary mode; attributes begin with `prefix`."""
        as_header = quoted if prefix == "ce-" else str
        named = {f"{prefix}{name}": as_header(text) for name, text in self.attributes.items()}
        return {**named, "content-type": self.content_type}, self.data

    def structured(self) -> tuple[dict[str, str], bytes]:
        """Headers and body in structured mode."""
        whole: dict[str, Any] = dict(self.attributes)
        whole["datacontenttype"] = self.content_type
        try:
            whole["data"] = from_json(self.data)
        except ValueError:
            whole["data_base64"] = base64.b64encode(self.data).decode()
        return {"content-type": STRUCTURED}, to_json(whole)


def read(arrived: Arrived) -> Incoming:
    """What `arrived` says. Raises `NotFit` for what is no JSON."""
    headers = {name.lower(): value for name, value in arrived.headers.items()}
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == _BATCH:
        raise NotFit("a batch of events is not one task", details=f"content type {_BATCH}")
    if kind == STRUCTURED:
        return _structured(arrived)
    attributes = _attributes(headers)
    if "specversion" in attributes:
        return Incoming(_json(arrived.body), _key(attributes), attributes.get(FLEET, ""))
    return Incoming(_json(arrived.body), arrived.own_id or None)


def _structured(arrived: Arrived) -> Incoming:
    event = _json(arrived.body)
    if not isinstance(event, dict) or "specversion" not in event:
        raise NotFit("the message is not a CloudEvent", details="it says that it is structured")
    payload = event.get("data")
    if "data_base64" in event:
        try:
            payload = _json(base64.b64decode(event["data_base64"], validate=True))
        except (binascii.Error, TypeError, ValueError) as error:
            raise NotFit("data_base64 is not base64", details=str(error)) from error
    return Incoming(payload, _key(event), str(event.get(FLEET, "")))


def _attributes(headers: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers.items():
        prefix = next((each for each in _PREFIXES if name.startswith(each)), None)
        if prefix is not None:
            found[name.removeprefix(prefix)] = unquote(value) if prefix == "ce-" else value
    return found


def _key(attributes: Mapping[str, Any]) -> str:
    """A CloudEvent is named by its source and its id, both of which it must have."""
    source, id_ = attributes.get("source"), attributes.get("id")
    if not source or not id_:
        raise NotFit("the CloudEvent has no source or no id", details="both name it")
    return f"{source}\n{id_}"


def _json(body: bytes) -> Any:
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise NotFit("the body is not JSON", details=str(error)) from error
