"""How speakers introduce themselves: who they are, what they have, what they understand."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType

from consensus.raft.types import LIMIT, NodeId
from consensus.wire.errors import Refused, Unreadable, Why

PROTOCOL = 1
"""The newest form of frames that is spoken here; 1 is also the oldest."""
NONCE = 32
"""Bytes of a nonce: too many for one to be drawn twice."""
NAME = 128
"""Bytes that a name may have."""
TEXT = 512
"""Bytes of a refusal's or a goodbye's reason that are told."""


class Party(IntEnum):
    """What kind of speaker somebody is; each kind proves itself by a key of its own."""

    PEER = 1
    WORKER = 2
    OPERATOR = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """Who speaks.

    A peer has a `node` id; a worker and an operator have none (0), and may leave the `cluster` open
    (0). The `name` of a peer is the address where others reach it. `incarnation` is drawn by each
    life of a process; `seq` is the highest durable one of a node's storage, 0 of a client.
    `protocols` are the oldest and newest form of frames, `cluster_version` the newest commands that
    it understands.
    """

    party: Party
    cluster: int
    node: NodeId = 0
    name: str = ""
    incarnation: int = 0
    seq: int = 0
    protocols: tuple[int, int] = (PROTOCOL, PROTOCOL)
    cluster_version: int = 1

    def __post_init__(self) -> None:
        numbers = (self.cluster, self.node, self.incarnation, self.seq)
        if min(numbers) < 0 or max(numbers) >= LIMIT or len(self.name.encode()) > NAME:
            raise ValueError("numbers of a speaker are from 0 to 2^63 - 1, names short")
        if (self.party is Party.PEER) != (self.node > 0):
            raise ValueError("a peer has the id of a node, a client has none")
        if self.party is Party.PEER and not self.cluster:
            raise ValueError("a peer knows its cluster")

    def __str__(self) -> str:
        known = f"node {self.node}" if self.party is Party.PEER else self.party.name.lower()
        return f"{known} {self.name!r}" if self.name else known


@dataclass(frozen=True, slots=True)
class Hello:
    """A speaker in one connection; the nonce is drawn for it and never used again. `insecure`: it
    holds no keys, because its settings say so."""

    speaker: Speaker
    nonce: bytes
    insecure: bool = False


_MAGIC = b"muster ledger\n"
_HELLO = struct.Struct(f">{len(_MAGIC)}sB?QQQQHHI{NONCE}sB")
"""magic, party, insecure, cluster, node, incarnation, seq, oldest and newest protocol, cluster
version, nonce, length of the name. It never changes: a speaker of any other
protocol must understand whom it refuses."""
_PARTIES: Mapping[int, Party] = MappingProxyType({int(party): party for party in Party})


def encode_hello(hello: Hello) -> bytes:
    """The bytes of an introduction; the same in every protocol."""
    one, name = hello.speaker, hello.speaker.name.encode()
    numbers = (one.cluster, one.node, one.incarnation, one.seq, *one.protocols)
    head = (_MAGIC, one.party, hello.insecure, *numbers, one.cluster_version)
    return _HELLO.pack(*head, hello.nonce, len(name)) + name


def decode_hello(data: bytes) -> Hello:
    """What `encode_hello` made; `Unreadable` for any other bytes."""
    try:
        magic, party, insecure, *numbers, nonce, length = _HELLO.unpack_from(data)
        cluster, node, incarnation, seq, oldest, newest, version = numbers
        speaker = Speaker(
            party=_PARTIES[party],
            cluster=cluster,
            node=node,
            name=data[_HELLO.size : _HELLO.size + length].decode(),
            incarnation=incarnation,
            seq=seq,
            protocols=(oldest, newest),
            cluster_version=version,
        )
    except (struct.error, ValueError, KeyError) as error:
        raise Unreadable(f"not an introduction: {error}") from error
    hello = Hello(speaker, nonce, insecure)
    if magic != _MAGIC or encode_hello(hello) != data:
        raise Unreadable("not an introduction of a speaker of the ledger")
    return hello


_WHYS: Mapping[int, Why] = MappingProxyType({int(why): why for why in Why})


def encode_refusal(refused: Refused) -> bytes:
    """Why a speaker is refused: the number, then the text in UTF-8, cut where it is too long."""
    return bytes([refused.why]) + encode_text(refused.details)


def decode_refusal(data: bytes) -> Refused:
    """What `encode_refusal` made; a reason that only a newer release knows is `Why.OTHER`."""
    if not data:
        raise Unreadable("a refusal without a reason")
    return Refused(_WHYS.get(data[0], Why.OTHER), decode_text(data[1:]))


def encode_text(text: str) -> bytes:
    """UTF-8, cut after `TEXT` bytes."""
    return text.encode()[:TEXT]


def decode_text(data: bytes) -> str:
    """A text of the other side, fit for a log: it is short and has no control characters."""
    text = data[:TEXT].decode(errors="replace")
    return "".join(sign if sign.isprintable() else "?" for sign in text)
