"""A simple history: every event is remembered, and each question looks at all of them."""

from collections.abc import Iterable
from dataclasses import dataclass

from contracts.events import OF_NO_RUN, TERMINAL, Event, Kind

_RANK = {
    Kind.PUBLISHED: 0,
    Kind.REPLAYED: 1,
    Kind.AUCTION_OPENED: 1,
    Kind.AUCTION_AWARDED: 1,
    Kind.AUCTION_CLOSED: 1,
    Kind.STARTED: 2,
    Kind.PROGRESS: 2,
    Kind.RETURNED: 3,
    Kind.RETRIED: 3,
    Kind.SNOOZED: 3,
    Kind.SUCCEEDED: 4,
    Kind.FAILED: 4,
    Kind.CANCELLED: 4,
}
_STATE = {
    Kind.PUBLISHED: "waiting",
    Kind.REPLAYED: "waiting",
    Kind.AUCTION_OPENED: "waiting",
    Kind.AUCTION_AWARDED: "waiting",
    Kind.AUCTION_CLOSED: "waiting",
    Kind.STARTED: "running",
    Kind.PROGRESS: "running",
    Kind.RETURNED: "waiting",
    Kind.RETRIED: "retrying",
    Kind.SNOOZED: "snoozed",
    Kind.SUCCEEDED: "succeeded",
    Kind.FAILED: "failed",
    Kind.CANCELLED: "cancelled",
}


@dataclass(frozen=True)
class Seen:
    """What is compared of a task in a role."""

    role: str
    state: str
    copy: int
    since: float
    runs: tuple[tuple[int, str | None], ...]
    result: str | None


class Model:
    """Knows the events of one task; times differ, so that there are no ties."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.events = {(event.id, event.at): event for event in events}.values()

    def usage(self) -> tuple[int, int, float]:
        """Runs that ended, those that succeeded, seconds of all."""
        ends = [e for e in self.events if _RANK[e.kind] > 2]
        good = sum(e.kind is Kind.SUCCEEDED for e in ends)
        return len(ends), good, sum(e.data.get("seconds", 0.0) for e in ends)

    def roles(self) -> list[Seen]:
        """What a reader should see of each role."""
        taken = sorted({e.role for e in self.events if e.role})
        return [self._seen(role) for role in taken or [""] if self.events]

    def _seen(self, role: str) -> Seen:
        mine = [e for e in self.events if e.role == role]
        last = max(mine, key=_order)
        runs = tuple(self._run(mine, copy) for copy in self._copies(mine))
        result = last.data.get("result") if last.kind in TERMINAL else None
        copy = 0 if last.kind is Kind.PUBLISHED else last.copy
        return Seen(role, _STATE[last.kind], copy, last.at, runs, result)

    def _copies(self, mine: list[Event]) -> list[int]:
        return sorted({e.copy for e in mine if e.kind not in OF_NO_RUN})

    def _run(self, mine: list[Event], copy: int) -> tuple[int, str | None]:
        its = [e for e in mine if e.copy == copy and e.kind not in OF_NO_RUN]
        last = max(its, key=_order)
        return copy, last.kind.value if _RANK[last.kind] > 2 else None


def _order(e: Event) -> tuple[int, int, float]:
    return (-1 if e.kind is Kind.PUBLISHED else e.copy, _RANK[e.kind], e.at)
