"""Where a topic lies on the wire, as a channel of a document tells it, and the server.

On NATS the addresses are the subjects another client uses; brokers whose layout is not told here
have the topic itself as the address.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol
from urllib.parse import urlsplit

from bus.backend import SLICES, LaneName
from bus.backends.choice import scheme_of
from bus.backends.nats.names import names_of

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


class PlainAddresses:
    """The topics themselves."""

    note = "An address is a topic; where it lies on the broker is documented for each broker."
    parameters: Mapping[str, Any] = MappingProxyType({})

    def topic(self, pattern: str) -> dict[str, Any]:
        """See `Addresses`."""
        address, parameters = words_of(pattern)
        return {"address": address, **({"parameters": parameters} if parameters else {})}

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
            "parameters": {
                "reply": {"description": "What the task's header muster-reply has."},
                "task": {"description": "The task's id."},
            },
        }


def addresses_of(url: str | None, fleet: str) -> Addresses:
    """The addresses of `fleet` on the bus at `url`; None is the embedded one."""
    nats = url is None or scheme_of(url) in {"nats", "tls"}
    return NatsAddresses(fleet) if nats else PlainAddresses()


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
