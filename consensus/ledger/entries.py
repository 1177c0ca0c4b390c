"""Commands as entries of the log.

An entry is one command: `kind` (1 byte), the leader's clock in ms (8 bytes), for a command of a
session its number, `seq` and `acked_below` (8 bytes each), then the record of the command as
`consensus.ledger.encoding` has it, and nothing behind it. Integers are big-endian.

Whoever proposes says `check` first. What is well-formed but out of range is refused when it is
applied, so that one bad entry cannot stop a cluster.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from consensus.ledger.commands import (
    Adopt,
    Attest,
    Cancel,
    Close,
    Command,
    Complete,
    Dismiss,
    Expire,
    ExpireSessions,
    Join,
    KeepAlive,
    Leave,
    OfLeader,
    Open,
    OpenSession,
    Pass,
    PlaceBid,
    RaiseVersion,
    Release,
    Renew,
    Tick,
)
from consensus.ledger.encoding import Layout, Malformed
from contracts.auctions import MAX_PARTS
from contracts.errors import InvalidValue, MusterError
from contracts.quick import quick

NEWEST = 1
"""The highest version of the cluster that this code can follow."""

MAX_STAMP = 1 << 48
"""Clocks stay below this (the year 10889): sums with windows and leases fit 64 bits."""

OUTSIDE = 128
"""Kinds from here on are not of a session."""

KINDS: Mapping[int, type[Command]] = MappingProxyType(
    {
        1: KeepAlive,
        2: Join,
        3: Leave,
        4: Open,
        5: PlaceBid,
        6: Pass,
        7: Renew,
        8: Complete,
        9: Adopt,
        10: Release,
        11: Cancel,
        128: OpenSession,
        129: Close,
        130: Expire,
        131: ExpireSessions,
        132: Dismiss,
        133: Tick,
        134: RaiseVersion,
        135: Attest,
    }
)
"""The number of each command. Numbers are never used again, fields never changed."""

SINCE: Mapping[type[Command], int] = MappingProxyType({})
"""The version of the cluster from which on a command may come; 1 where nothing is said."""

_SHORT = struct.Struct(">BQ")
_LONG = struct.Struct(">BQQQQ")
_LAYOUTS: Mapping[type[Command], Layout[Any]] = MappingProxyType(
    {cls: Layout(cls) for cls in KINDS.values()}
)
_NUMBERS: Mapping[type[Command], int] = MappingProxyType({cls: n for n, cls in KINDS.items()})
_ATTEST = bytes((_NUMBERS[Attest],))
_HOUR = 3_600_000
_RANGES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "nonce": (16, 16),
        "worker": (1, 200),
        "role": (1, 64),
        "skills": (0, 32),
        "slots": (0, 10_000),
        "key": (1, 256),
        "window_ms": (1, _HOUR),
        "lease_ms": (1, _HOUR),
        "max_awards": (1, 1_000),
        "spec_hash": (32, 32),
        "result_hash": (32, 32),
        "digest": (32, 32),
        "cost": (0, 1 << 62),
        "score": (-(1 << 62), 1 << 62),
        "parts": (0, MAX_PARTS),
    }
)
"""What a field may be: a number itself, anything else by its length."""

_RANGED: Mapping[type[Command], tuple[tuple[str, int, int], ...]] = MappingProxyType(
    {
        cls: tuple((f.name, *_RANGES[f.name]) for f in fields(cls) if f.name in _RANGES)
        for cls in KINDS.values()
    }
)
_SKILL = 64


class UnknownCommand(MusterError):
    """The entry is no command that this node knows. It must stop before applying it: a node that
    guesses, or leaves the entry out, has another state than the others."""


@quick
@dataclass(frozen=True, slots=True)
class Entry:
    """A command with its stamp, the leader's clock in ms. `session`, `seq` and `acked_below` are 0
    but for a command of a session: the client has the answers of all below `acked_below`."""

    stamp: int
    command: Command
    session: int = 0
    seq: int = 0
    acked_below: int = 0


def is_of_leader(command: Command) -> bool:
    """Whether only the leader's own node may propose it; from a client it is refused."""
    return isinstance(command, OfLeader)


def is_attest(data: bytes) -> bool:
    """Whether an entry attests the state of a leader, without reading all of it."""
    return data[:1] == _ATTEST


def stamped(data: bytes, stamp: int) -> bytes:
    """What `encode` made, with another stamp."""
    return data[:1] + stamp.to_bytes(8) + data[9:]


def problem(command: Command) -> str:
    """What is out of range in `command`; nothing if it may be applied."""
    for name, low, high in _RANGED[type(command)]:
        value = getattr(command, name)
        size = value if isinstance(value, int) else len(value)
        if not low <= size <= high:
            return f"{name} is {size}, not from {low} to {high}"
    if isinstance(command, Join):
        if any(not 1 <= len(word) <= _SKILL or "\n" in word for word in command.skills):
            return f"a skill is not one line of 1 to {_SKILL} characters"
        if list(command.skills) != sorted(set(command.skills)):
            return "skills are not in order, or named twice"
    return ""


def check(command: Command) -> None:
    """Raise `InvalidValue` if `command` would be refused whatever the state is."""
    if found := problem(command):
        raise InvalidValue(f"the ledger cannot take this {type(command).__name__}", details=found)


def encode(entry: Entry) -> bytes:
    """The bytes of an entry; raises `InvalidValue` for what no entry can hold."""
    command = entry.command
    number = _NUMBERS[type(command)]
    try:
        return _head(number, entry) + _LAYOUTS[type(command)].pack(command)
    except (struct.error, Malformed, UnicodeEncodeError) as error:
        name = type(command).__name__
        raise InvalidValue(f"the ledger cannot take this {name}", details=str(error)) from error


def decode(data: bytes, version: int = NEWEST) -> Entry:
    """The entry in `data`, in a cluster of `version`. Whatever the bytes are, nothing but
    `UnknownCommand` is raised, and `encode` gives the same bytes again."""
    try:
        number = data[0] if data else 0
        cls = KINDS.get(number)
        if cls is None or SINCE.get(cls, 1) > version:
            raise _unknown(f"kind {number} in a cluster of version {version}")
        head = _SHORT if number >= OUTSIDE else _LONG
        _, stamp, *of_session = head.unpack_from(data)
        command, end = _LAYOUTS[cls].unpack(data, head.size)
    except (Malformed, struct.error) as error:
        raise _unknown(str(error)) from error
    if stamp >= MAX_STAMP or end != len(data):
        raise _unknown(f"stamp {stamp}, {len(data) - end} bytes behind the command")
    return Entry(stamp, command, *of_session)


def _head(number: int, entry: Entry) -> bytes:
    if not 0 <= entry.stamp < MAX_STAMP:
        raise Malformed(f"the stamp {entry.stamp} is out of range")
    if number < OUTSIDE:
        return _LONG.pack(number, entry.stamp, entry.session, entry.seq, entry.acked_below)
    return _SHORT.pack(number, entry.stamp)


def _unknown(reason: str) -> UnknownCommand:
    return UnknownCommand(
        "the log has an entry that this node does not know",
        details=reason,
        actions=("install the release that the other members run, then start this node again",),
    )
