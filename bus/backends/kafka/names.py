"""What things are called and where they lie. Pure.

A group's topic has three partitions for each *slot*: partition `3 * slot + n` is the n-th of the
lanes `LOGGED`. Slot s belongs to the slice s modulo the number of slices.
"""

import re
import secrets
from collections.abc import Sequence

from bus.backend import Lane, LaneName
from contracts.errors import InvalidValue

LOGGED = (LaneName.HIGH, LaneName.NORMAL, LaneName.LOW)
"""The lanes that lie in the log; the retry lane is rows alone."""

_COUNT = len(LOGGED)
_AMONG = {name: number for number, name in enumerate(LOGGED)}

CODES = {name: code for code, name in enumerate(LaneName)}
"""How the database calls the lanes."""

NAMES = tuple(LaneName)
"""The lanes by their code."""

DONE = 9
"""The code of what is done and only remembered."""

INGRESS = ".in"
"""The group whose topic is the inlet: no role can be called so."""

_FLEET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}\Z")
_STRANGE = re.compile(r"[^A-Za-z0-9_-]")


def checked(fleet: str) -> str:
    """`fleet`, if topics may be called so. Raises `InvalidValue`."""
    if not _FLEET.match(fleet):
        raise InvalidValue(
            f"{fleet!r} cannot name a fleet",
            details="1 to 32 letters, digits, - and _, and no - or _ at the beginning",
        )
    return fleet


def new_topic(fleet: str, group: str) -> str:
    """The topic of a group; another one each time it is bound anew: deleting one takes a while."""
    return f"muster.{fleet}.{_STRANGE.sub('_', group)[:150]}.{secrets.token_hex(4)}"


def inlet(fleet: str) -> str:
    """The topic that programs write which know no groups."""
    return f"muster.{fleet}.in"


def lane_of(part: int) -> LaneName:
    """The lane whose messages lie in a partition."""
    return LOGGED[part % len(LOGGED)]


def slot_of(part: int) -> int:
    """The slot a partition belongs to."""
    return part // len(LOGGED)


def part_of(lane: LaneName, slot: int) -> int:
    """The partition of a lane and slot."""
    return slot * _COUNT + _AMONG[lane]


def parts_for(lane: Lane, slots: int, slices: int) -> Sequence[int]:
    """The partitions of `lane` for one who cuts lanes into `slices`."""
    if lane.name is LaneName.RETRY:
        return ()
    return [part_of(lane.name, slot) for slot in range(lane.slice, slots, slices)]
