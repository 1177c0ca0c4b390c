"""Where a topic lies on the wire, as a channel of a document tells it, and the server.

On NATS the addresses are the subjects another client uses, on RabbitMQ routing keys, on Redis and
Kafka the one place where other programs put tasks for every topic.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol
from urllib.parse import urlsplit

from bus.backend import SLICES, LaneName
from bus.backends.choice import scheme_of
from bus.backends.kafka.names import inlet
from bus.backends.nats.names import names_of
from bus.backends.rabbitmq.names import exchange_of
from contracts.topics import EVENTS

_LANE = {
    "description": "By priority.",
    "enum": [lane.value for lane in LaneName if lane is not LaneName.RETRY],
    "default": LaneName.NORMAL.value,
}
_SLICE = {
    "description": "Of the tenant: 0 for none, else crc32(tenant) modulo 16.",
    "enum": [str(number) for number in range(SLICES)],
    "default": "0",
}
_OUTCOME: Mapping[str, Any] = MappingProxyType(
    {
        "reply": {"description": "What the task's header muster-reply has."},
        "task": {"description": "The task's id."},
    }
)
_PROTOCOLS = MappingProxyType({"tls": "nats"})
"""What a scheme is called as a protocol, where that differs."""


class Addresses(Protocol):
    """Addresses and parameters of channels."""

    note: str
    parameters: Mapping[str, Any]

    def topic(self, pattern: str) -> dict[str, Any]:
        """Of a topic pattern."""
        ...

    def direct(self, role: str) -> dict[str, Any]:
        """Of what is for one role only."""
        ...

    def outcomes(self) -> dict[str, Any]:
        """Of the ends of tasks."""
        ...


class InletAddresses:
    """The ingress of the fleet, whatever the topic: the task names it itself."""

    parameters: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, told: Mapping[str, Any], outcomes: Mapping[str, Any], note: str) -> None:
        self.note = note
        self._told = told
        self._outcomes = outcomes

    def topic(self, pattern: str) -> dict[str, Any]:
        """See `Addresses`. What muster tells cannot be put in, and is not there."""
        return {"address": None} if pattern == EVENTS else dict(self._told)

    def direct(self, role: str) -> dict[str, Any]:  # noqa: ARG002 - the protocol's
        """See `Addresses`."""
        return {"address": None}

    def outcomes(self) -> dict[str, Any]:
        """See `Addresses`."""
        return dict(self._outcomes)


class RabbitAddresses:
    """Routing keys of the fleet's exchange."""

    parameters: Mapping[str, Any] = MappingProxyType({"lane": _LANE, "slice": _SLICE})

    def __init__(self, fleet: str) -> None:
        self.note = f"An address is a routing key of the exchange {exchange_of(fleet)}."

    def topic(self, pattern: str) -> dict[str, Any]:
        """See `Addresses`."""
        words, parameters = words_of(pattern)
        return _in_lanes(f"{{lane}}.{{slice}}.{words}", parameters)

    def direct(self, role: str) -> dict[str, Any]:  # noqa: ARG002 - the protocol's
        """See `Addresses`."""
        return {"address": None}

    def outcomes(self) -> dict[str, Any]:
        """See `Addresses`."""
        return {"address": None}


class NatsAddresses:
    """Subjects of the fleet's streams and of its bucket."""

    note = "An address is a NATS subject: publish to it with JetStream, and await its answer."
    parameters: Mapping[str, Any] = MappingProxyType({"lane": _LANE, "slice": _SLICE})

    def __init__(self, fleet: str) -> None:
        self._names = names_of(fleet)

    def topic(self, pattern: str) -> dict[str, Any]:
        """See `Addresses`."""
        words, parameters = words_of(pattern)
        return _in_lanes(f"{self._names.root}.t.{{lane}}.{{slice}}.{words}", parameters)

    def direct(self, role: str) -> dict[str, Any]:
        """See `Addresses`."""
        words, parameters = words_of("#")
        return _in_lanes(f"{self._names.root}.g.{role}.{{lane}}.{{slice}}.{words}", parameters)

    def outcomes(self) -> dict[str, Any]:
        """See `Addresses`."""
        bucket = self._names.bucket.removeprefix("KV_")
        return {
            "address": f"$KV.{bucket}.outcome.{{reply}}.{{task}}",
            "parameters": dict(_OUTCOME),
        }


def addresses_of(url: str | None, fleet: str) -> Addresses:
    """The addresses of `fleet` on the bus at `url`; None is the embedded one."""
    scheme = "nats" if url is None else scheme_of(url)
    if scheme in {"amqp", "amqps"}:
        return RabbitAddresses(fleet)
    if scheme in {"kafka", "kafkas"}:
        note = "Tasks of every topic are put into one topic of Kafka; ce_type names theirs."
        return InletAddresses({"address": inlet(fleet)}, {"address": None}, note)
    if scheme in {"redis", "rediss"}:
        return _on_redis(fleet)
    return NatsAddresses(fleet)


def _on_redis(fleet: str) -> Addresses:
    """A stream, and keys of the store; what stands in braces there would be a parameter here."""
    tag = f"{{muster:{fleet}}}"
    known = {"tag": {"description": "As it is.", "enum": [tag], "default": tag}}
    note = "Tasks of every topic are put into one stream (XADD); the field ce-type names theirs."
    outcomes = {
        "address": "{tag}:kv:outcome/{reply}/{task}",
        "parameters": {**known, **_OUTCOME},
    }
    return InletAddresses({"address": "{tag}:in", "parameters": known}, outcomes, note)


def server_of(url: str) -> dict[str, Any]:
    """The bus at `url` as a server of the document; who may use it is not told."""
    parts = urlsplit(url)
    scheme = scheme_of(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    told: dict[str, Any] = {
        "host": f"{host}:{parts.port}" if parts.port else host,
        "protocol": _PROTOCOLS.get(scheme, scheme),
    }
    if parts.path.strip("/"):
        told["pathname"] = parts.path
    return told


def words_of(pattern: str) -> tuple[str, dict[str, Any]]:
    """`pattern` as an address, and what stands for the words it leaves open."""
    words: list[str] = []
    parameters: dict[str, Any] = {}
    for word in pattern.split("."):
        if word == "*":
            name = f"word{len(parameters) + 1}"
            parameters[name] = {"description": "One word."}
        elif word == "#":
            name = "rest"
            parameters[name] = {
                "description": "One or more words with dots between"
                + ("." if len(pattern) == 1 else "; may be left out with the dot before it.")
            }
        else:
            words.append(word)
            continue
        words.append(f"{{{name}}}")
    return ".".join(words), parameters


def _in_lanes(address: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: {"$ref": f"#/components/parameters/{name}"} for name in ("lane", "slice")}
    return {"address": address, "parameters": {**kept, **parameters}}
