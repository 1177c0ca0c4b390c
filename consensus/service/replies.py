"""What a node answers, and what it tells those who asked to be told."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

from consensus.ledger.answers import Answer, pack_answer, unpack_answer
from consensus.ledger.encoding import Layout, Malformed
from consensus.service.shown import auction_of, shown
from consensus.wire.errors import Unreadable
from contracts.auctions import Auction, Opening, Won

T = TypeVar("T")


class Tell(IntEnum):
    """The kinds of replies. The numbers are sent: they never change."""

    ANSWER = 1
    MOVED = 2
    BUSY = 3
    SHOWN = 4
    INVALID = 5


@dataclass(frozen=True, slots=True)
class Answered:
    """The command was applied, and this is its answer."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Moved:
    """This node does not lead, or did not remain leader until it knew the answer: nothing is known
    of the command. `address` is where the leader is thought to be; empty if nobody knows."""

    address: str


@dataclass(frozen=True, slots=True)
class Postponed:
    """Nothing was done; the same may be asked again shortly."""

    why: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What was asked to be shown, as a JSON object."""

    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Invalid:
    """Nothing was done, and nothing will be however often it is asked: in words for people."""

    message: str
    details: str
    actions: tuple[str, ...] = ()


Reply: TypeAlias = Answered | Moved | Postponed | Shown | Invalid


def encode_reply(reply: Reply) -> bytes:
    """The body of an answer."""
    match reply:
        case Answered(answer=answer):
            return bytes((Tell.ANSWER,)) + pack_answer(answer)
        case Moved(address=address):
            return bytes((Tell.MOVED,)) + address.encode()
        case Postponed(why=why):
            return bytes((Tell.BUSY,)) + why.encode()
        case Shown(body=body):
            return bytes((Tell.SHOWN,)) + json.dumps(dict(body)).encode()
        case Invalid(message=message, details=details, actions=actions):
            return bytes((Tell.INVALID,)) + json.dumps([message, details, *actions]).encode()


def decode_reply(body: bytes) -> Reply:
    """What `encode_reply` made; `Unreadable` for any other bytes."""
    kind, rest = body[0] if body else 0, body[1:]
    try:
        if kind == Tell.ANSWER:
            return Answered(unpack_answer(rest))
        if kind == Tell.MOVED:
            return Moved(rest.decode())
        if kind == Tell.BUSY:
            return Postponed(rest.decode())
        if kind == Tell.SHOWN:
            return Shown(MappingProxyType(dict(json.loads(rest))))
        if kind == Tell.INVALID:
            message, details, *actions = map(str, json.loads(rest))
            return Invalid(message, details, tuple(actions))
    except (ValueError, TypeError, RecursionError) as error:
        raise Unreadable(f"a reply that is none: {error}") from error
    raise Unreadable(f"a reply of kind {kind}")


Push: TypeAlias = Opening | Won | Auction

_OPENING: Layout[Opening] = Layout(Opening)
_WON: Layout[Won] = Layout(Won)


def encode_push(push: Push) -> bytes:
    """The body of a push; an auction is told when it has ended."""
    match push:
        case Opening():
            return b"\x01" + _OPENING.pack(push)
        case Won():
            return b"\x02" + _WON.pack(push)
        case Auction():
            return b"\x03" + json.dumps(shown(push)).encode()


def decode_push(body: bytes) -> Push:
    """What `encode_push` made; `Unreadable` for any other bytes."""
    try:
        if body[:1] == b"\x01":
            return _whole(_OPENING, body)
        if body[:1] == b"\x02":
            return _whole(_WON, body)
        if body[:1] == b"\x03":
            return auction_of(json.loads(body[1:]))
    except (Malformed, ValueError, RecursionError) as error:
        raise Unreadable(f"a push that is none: {error}") from error
    raise Unreadable("a push of a kind that is not known")


def _whole(layout: Layout[T], body: bytes) -> T:
    found, end = layout.unpack(body, 1)
    if end != len(body):
        raise Malformed(f"{len(body) - end} bytes behind it")
    return found
