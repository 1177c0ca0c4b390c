"""What a watch knows of the entries it tells of: revisions, and when they end."""

import heapq
from math import inf

from bus.keyvalue.protocol import Entry, Removed, Written
from bus.keyvalue.redis_feed import Told
from contracts.clock import Clock

_AGAIN = 0.05
"""Seconds after which an entry that should have ended is asked for again."""


class Known:
    """Keys, their revisions and ends. A change older than what is known is none."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._revisions: dict[str, int] = {}
        self._ends: dict[str, float] = {}
        self._order: list[tuple[float, str]] = []

    def add(self, key: str, revision: int, left: float | None) -> None:
        """An entry is there, and has so many seconds left."""
        self._revisions[key] = revision
        self._ends.pop(key, None)
        if left is not None:
            end = self._ends[key] = self._clock.monotonic() + left
            heapq.heappush(self._order, (end, key))

    def apply(self, told: Told) -> Written | Removed | None:
        """The change that follows from what was told."""
        before = self._revisions.get(told.key)
        if before is not None and told.revision <= before:
            return None
        if told.kind == "put":
            self.add(told.key, told.revision, told.left)
            return Written(Entry(told.key, told.value, told.revision))
        self._revisions.pop(told.key, None)
        self._ends.pop(told.key, None)
        return Removed(told.key, told.kind == "expired") if before is not None else None

    def ends(self) -> float:
        """When the next one ends, by the monotonic clock."""
        order, ends = self._order, self._ends
        while order and ends.get(order[0][1]) != order[0][0]:
            heapq.heappop(order)
        return order[0][0] if order else inf

    def ask_later(self) -> None:
        """What should have ended by now was asked for: its end will be told."""
        now = self._clock.monotonic()
        while self.ends() <= now:
            _, key = heapq.heappop(self._order)
            end = self._ends[key] = now + _AGAIN
            heapq.heappush(self._order, (end, key))
