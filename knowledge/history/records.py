"""What history answers with. Times are UTC epoch seconds, money is integer micro-dollars."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Generic, TypeVar

from contracts.outcomes import Reason
from knowledge.history.states import FINISHED, State

T = TypeVar("T")

_NAMED = 10
"""Refused events that are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a batch. `fresh` events were not known before; `refused` ones could not be
    kept, and will not be when they are told again; `named` are the ids of some of these."""

    events: int = 0
    fresh: int = 0
    refused: int = 0
    named: tuple[str, ...] = ()

    def __add__(self, other: "Recorded") -> "Recorded":
        return Recorded(
            self.events + other.events,
            self.fresh + other.fresh,
            self.refused + other.refused,
            (self.named + other.named)[:_NAMED],
        )


@dataclass(frozen=True, slots=True)
class Watermark:
    """Everything the bus accepted before `upto` is recorded; 0 if nothing ever was. `now` is the
    time of the same clock, the database's, when it was asked."""

    upto: float
    now: float

    @property
    def behind(self) -> float:
        """How many seconds history is behind; since the epoch if nothing was ever recorded."""
        return max(0.0, self.now - self.upto)


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """`found`, true as of `as_of`: what the bus accepted before that database time is in it."""

    found: T
    as_of: float


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of what was asked for, true as of `as_of`; `after` asks for what comes next, None at
    the end."""

    items: Sequence[T]
    after: str | None
    as_of: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """A task in a role; the role is "" as long as nobody has taken what was published to whoever
    is bound. `since` is when the state began, `started` when the run began that counts, `due`
    when a waiting task will run at the earliest. What only the publisher knows (`priority`,
    `deadline`, `parent`, `subjects`) is None or empty where its event was not recorded."""

    task: str
    role: str
    topic: str
    tenant: str
    published: float
    state: State
    since: float
    copy: int = 0
    attempt: int | None = None
    worker: str | None = None
    pid: int | None = None
    started: float | None = None
    seconds: float | None = None
    cost: int | None = None
    due: float | None = None
    reason: str | None = None
    error: str | None = None
    share: float | None = None
    note: str | None = None
    correlation: str | None = None
    priority: str | None = None
    deadline: float | None = None
    parent: str | None = None
    subjects: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """It will not run again by itself."""
        return self.state in FINISHED


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run of a task in a role. `outcome` is the kind of the event that ended it, None while
    none did: it runs, or its worker died."""

    task: str
    role: str
    published: float
    copy: int
    attempt: int
    worker: str
    pid: int
    at: float
    started: float | None = None
    outcome: str | None = None
    seconds: float | None = None
    cost: int | None = None
    reason: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRecord:
    """How a task ended in a role, by the run with the highest fence (`copy`). `payload` and
    `result` are JSON text, None where they were over the limit; the sizes are told then."""

    task: str
    role: str
    published: float
    state: State
    copy: int
    attempt: int
    worker: str
    finished: float
    reason: str | None = None
    error: str | None = None
    payload: str | None = None
    result: str | None = None
    payload_bytes: int | None = None
    result_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was done and spent: `runs` ended, for `seconds` together, for `cost`. `day`, `tenant`
    and `role` are None where the figures are over all of them. What was published to whoever is
    bound is counted under the role ""."""

    day: date | None
    tenant: str | None
    role: str | None
    published: int
    runs: int
    succeeded: int
    failed: int
    cancelled: int
    retried: int
    seconds: float
    cost: int


class Fate(StrEnum):
    """What a person decided about a dead letter."""

    REPLAYED = "replayed"
    EDITED = "edited"
    PURGED = "purged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """A task that became a dead letter, and what a person decided about it. `reason` is one of
    `contracts.outcomes.Reason` unless a later release tells of others."""

    task: str
    role: str
    topic: str
    tenant: str
    published: float
    copy: int
    died: float
    reason: Reason | str
    error: str
    attempts: int
    worker: str
    fate: Fate | None = None
    fate_by: str | None = None
    fate_at: float | None = None
    replays: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeedRecord:
    """What an operator did: `action`, in the words of its command, by `by` (user@host) to what
    `scope` and `target` say, and `role`, several with spaces between. `count`: how many tasks or
    letters it met, None where that is not known; `tasks`: the first twenty of those it names.
    `before` and `after`: what it changed; `details`: what else was told of it, from JSON."""

    id: int
    at: float
    by: str
    action: str
    scope: str
    target: str
    role: str
    count: int | None
    tasks: tuple[str, ...]
    before: str
    after: str
    details: Any
    outcome: str
