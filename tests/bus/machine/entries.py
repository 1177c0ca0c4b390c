"""What was accepted for one group: one task, and where it is in its life."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from bus.backend import HIGH, LOW, NORMAL, RETRY, Delivery, Lane
from contracts.envelope import Priority
from contracts.outcomes import Reason

LEASE = 4.0
WINDOW = 120.0

ATTEMPTS: Mapping[str, int] = MappingProxyType({"g": 3, "h": 2})
"""The groups of the fleet, and how many runs each allows."""

ROUTES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "a.#": frozenset({"a.x", "a.y"}),
        "*.x": frozenset({"a.x", "b.x"}),
        "a.y": frozenset({"a.y"}),
        "b.*": frozenset({"b.x"}),
    }
)
"""The patterns groups are bound with, and which of the three topics each matches."""

TOPICS = ("a.x", "a.y", "b.x")

UNBOUND = "c.z"
"""A topic that no pattern matches."""

LANES: Mapping[Priority, Lane] = MappingProxyType(
    {Priority.HIGH: HIGH, Priority.NORMAL: NORMAL, Priority.LOW: LOW}
)


class State(StrEnum):
    """Where a task of a group is; a held one whose lease is over can be had again."""

    WAITING = "waiting"
    HELD = "held"
    DEAD = "dead"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody asked to publish. `poison`: its bytes are no task."""

    id: str
    topic: str
    priority: Priority = Priority.NORMAL
    due: float = 0.0
    group: str | None = None
    poison: bool = False
    body: bytes = b"{}"


@dataclass(frozen=True, slots=True)
class Letter:
    """What a dead letter must say."""

    reason: Reason
    attempts: int
    copy: int
    replays: int
    replaying: bool = False


@dataclass(slots=True)
class Entry:
    """One accepted task of one group. `since`: when this copy came; `unanswered`: its hand-overs
    that nobody answered; `begun`: the copy whose last attempt was noted to begin."""

    asked: Asked
    group: str
    due: float
    since: float
    copy: int = 0
    attempt: int = 0
    suspect: bool = False
    replays: int = 0
    replayed: float = 0.0
    unanswered: int = 0
    begun: int | None = None
    state: State = State.WAITING
    holder: Delivery | None = None
    until: float = 0.0
    letter: Letter | None = None

    @property
    def live(self) -> bool:
        """Whether it has yet to end."""
        return self.state in {State.WAITING, State.HELD}

    @property
    def lane(self) -> Lane:
        """Where it lies."""
        return RETRY if self.copy or self.due else LANES[self.asked.priority]

    @property
    def from_(self) -> float:
        """When it can be had, unless its lease is renewed."""
        return self.until if self.state is State.HELD else max(self.since, self.due)

    def is_with(self, holder: Delivery, now: float) -> bool:
        """Whether this delivery holds it."""
        return self.state is State.HELD and self.holder is holder and now < self.until

    def is_last(self) -> bool:
        """Whether this attempt is the last."""
        return self.attempt + 1 >= ATTEMPTS[self.group]

    def again(self, now: float, *, due: float = 0.0, used: int = 0) -> None:
        """The next copy waits."""
        self.state, self.holder = State.WAITING, None
        self.copy += 1
        self.attempt += used
        self.due, self.since, self.unanswered = due, now, 0

    def dies(self, reason: Reason, attempts: int) -> None:
        """It becomes a dead letter."""
        self.state, self.holder = State.DEAD, None
        self.letter = Letter(reason, attempts, self.copy, self.replays)

    def ends(self) -> None:
        """Nothing of it is left."""
        self.state, self.holder = State.GONE, None
