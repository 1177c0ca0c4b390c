"""The seam to a key-value store: six methods, one suite for every implementation.

A key is words joined by `/`, each of any printable characters but `/`; a prefix ends with `/`
(or is empty for everything). Only `bus.errors` leave.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, Protocol


class _Absent(Enum):
    ABSENT = "absent"


ABSENT: Final = _Absent.ABSENT
"""Passed as `expect` to `put`: only if there is no such entry."""

Absent = Literal[_Absent.ABSENT]

Revision = int
"""Changes at every write of an entry; rises; means nothing else."""

MAX_VALUE = 950 * 1024
"""Bytes a value may have: a dead letter holds a body of the greatest size and its headers."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is stored under a key."""

    key: str
    value: bytes
    revision: Revision


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All entries under a prefix as they were at one moment; replaces what was known before."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """An entry was put."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Removed:
    """An entry went: deleted, or expired."""

    key: str
    expired: bool


@dataclass(frozen=True, slots=True)
class Current:
    """All that was put or deleted before this moment, by both clocks of the watching process, has
    been told. Never a moment too late, also when this process stood still: programs rely on it."""

    monotonic: float
    wall: float


Change = Snapshot | Written | Removed


class Wish:
    """That somebody needs to know now how current a follower is. For one of them, on one event
    loop. `heard` is called when the wish is made; a follower sets it."""

    def __init__(self) -> None:
        self.open = False
        self.heard: Callable[[], None] | None = None

    def make(self) -> None:
        """It is needed; nothing happens where that was said before."""
        if not self.open:
            self.open = True
            if self.heard is not None:
                self.heard()

    def grant(self) -> None:
        """It was told."""
        self.open = False


class KeyValue(Protocol):
    """Small durable entries with expiry, compare-and-set and watching."""

    async def get(self, key: str) -> Entry | None:
        """The entry, as of the last `put` that has returned anywhere."""
        ...

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        ttl: float | None = None,
        expect: Revision | Absent | None = None,
    ) -> Revision:
        """Store durably and return the new revision. `ttl` in seconds, at least 1 (finer values
        are rounded up); None means for ever. `expect` a revision, or `ABSENT`: raises `Conflict`
        and changes nothing if the entry is not so. An expired entry is absent. `TooLarge` over
        `MAX_VALUE`."""
        ...

    async def delete(self, key: str, *, expect: Revision | None = None) -> bool:
        """Remove; False when there was none, or its revision was not `expect`."""
        ...

    async def list(self, prefix: str, *, after: str | None = None, limit: int = 500) -> list[Entry]:
        """Up to `limit` entries under `prefix` in order of their keys (by code point), those
        greater than `after`."""
        ...

    def watch(self, prefix: str) -> AsyncIterator[Change]:
        """A `Snapshot`, then every change since; after a lost connection a `Snapshot` again.
        An expiry is a `Removed` within a second of its time. Ends only when closed: iterate in
        a task and cancel it, or `aclose()` the iterator."""
        ...

    def follow(
        self, prefix: str, *, every: float, wish: Wish | None = None
    ) -> AsyncIterator[Change | Current]:
        """As `watch`, and after the snapshot also `Current`, about every `every` seconds (at
        least 0.1) as long as the store is heard. While nothing changes that asks the store next to
        nothing. Where `wish` is given, a store that has to be asked may tell `Current` only while
        it is open, and then at once if the last time was `every` seconds ago."""
        ...

    async def close(self) -> None:
        """Let go of connections; any call afterwards raises `Closed`."""
        ...
