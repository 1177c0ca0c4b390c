"""What a client asks: one byte for what it is, then what belongs to it."""

import json
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias

from consensus.wire.errors import Unreadable

NONCE = 16
"""Bytes that tell a session from all others, and that only its client knows."""


class Ask(IntEnum):
    """The kinds of requests. The numbers are sent: they never change."""

    COMMAND = 1
    READ = 2
    LIST = 3
    STATUS = 4
    PING = 5


@dataclass(frozen=True, slots=True)
class CommandAsked:
    """A command: `entry` as `consensus.ledger.entries` has it, with any stamp. `nonce` is that of
    the session, which shows that it is the client's own."""

    nonce: bytes
    entry: bytes


@dataclass(frozen=True, slots=True)
class ReadAsked:
    """The auction of a key, not older than the request."""

    key: str


@dataclass(frozen=True, slots=True)
class ListAsked:
    """Auctions in the order of their keys, those behind `after`."""

    after: str
    limit: int


@dataclass(frozen=True, slots=True)
class StatusAsked:
    """Where this node stands; of any node."""


@dataclass(frozen=True, slots=True)
class PingAsked:
    """Whether this node leads; the connection of `nonce` is not silent."""

    nonce: bytes


Request: TypeAlias = CommandAsked | ReadAsked | ListAsked | StatusAsked | PingAsked


def encode_request(request: Request) -> bytes:
    """The body of a request."""
    match request:
        case CommandAsked(nonce=nonce, entry=entry):
            return bytes((Ask.COMMAND,)) + nonce + entry
        case ReadAsked(key=key):
            return bytes((Ask.READ,)) + key.encode()
        case ListAsked(after=after, limit=limit):
            return bytes((Ask.LIST,)) + limit.to_bytes(4) + after.encode()
        case StatusAsked():
            return bytes((Ask.STATUS,))
        case PingAsked(nonce=nonce):
            return bytes((Ask.PING,)) + nonce


def decode_request(body: bytes) -> Request:
    """What `encode_request` made; `Unreadable` for any other bytes."""
    kind, rest = body[:1], body[1:]
    try:
        if kind == bytes((Ask.COMMAND,)):
            return CommandAsked(_nonce(rest[:NONCE]), rest[NONCE:])
        if kind == bytes((Ask.READ,)):
            return ReadAsked(rest.decode())
        if kind == bytes((Ask.LIST,)) and len(rest) >= 4:
            return ListAsked(rest[4:].decode(), int.from_bytes(rest[:4]))
    except UnicodeDecodeError as error:
        raise Unreadable(f"a request that is no text: {error}") from error
    if kind == bytes((Ask.PING,)):
        return PingAsked(_nonce(rest) if rest else b"")
    if body == bytes((Ask.STATUS,)):
        return StatusAsked()
    raise Unreadable(f"a request of kind {kind.hex() or 'nothing'}")


def _nonce(data: bytes) -> bytes:
    if len(data) != NONCE:
        raise Unreadable(f"a nonce of {len(data)} bytes")
    return data


@dataclass(frozen=True, slots=True)
class NewsWanted:
    """To be told what a session has to hear: openings and awards."""

    nonce: bytes


@dataclass(frozen=True, slots=True)
class EndWanted:
    """To be told once how an auction ended; at once where it has."""

    key: str


Wanted: TypeAlias = NewsWanted | EndWanted


def encode_wanted(wanted: Wanted) -> bytes:
    """The body of a subscription."""
    if isinstance(wanted, NewsWanted):
        return b"\x01" + wanted.nonce
    return b"\x02" + wanted.key.encode()


def decode_wanted(body: bytes) -> Wanted:
    """What `encode_wanted` made; `Unreadable` for any other bytes."""
    try:
        if body[:1] == b"\x01":
            return NewsWanted(_nonce(body[1:]))
        if body[:1] == b"\x02":
            return EndWanted(body[1:].decode())
    except UnicodeDecodeError as error:
        raise Unreadable(f"a subscription that is no text: {error}") from error
    raise Unreadable("a subscription to nothing that there is")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What an operator wants done. `do` is one of `DOES`; `node` the id it is about, `address` and
    `instead` where they belong to it."""

    do: str
    node: int = 0
    address: str = ""
    instead: int = 0


DOES = ("add", "promote", "remove", "replace", "transfer", "compact")
"""add: let `node` at `address` get the log. promote: let it vote. remove: let it be no member.
replace: add `node` at `address`, let it catch up and vote, then remove `instead`. transfer: let
`node` lead. compact: make room on the disk of the node that is asked."""


def encode_order(order: Order) -> bytes:
    """The body of an order: JSON, ids as text, for not every reader keeps 63 bits."""
    body = {"do": order.do, "node": str(order.node), "address": order.address}
    return json.dumps(body | {"instead": str(order.instead)}).encode()


def decode_order(body: bytes) -> Order:
    """What `encode_order` made; `Unreadable` for any other bytes."""
    try:
        found: dict[str, Any] = json.loads(body)
        order = Order(
            do=str(found["do"]),
            node=int(found["node"]),
            address=str(found["address"]),
            instead=int(found["instead"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Unreadable(f"not an order: {error!r}") from error
    if order.do not in DOES:
        raise Unreadable(f"there is no order {order.do!r}")
    return order
