"""What running a task comes to. A handler returns a value (which means `Done`) or one of these."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a task became a dead letter; the closed list of promise 17."""

    CRASH = "crash"
    TIMEOUT = "timeout"
    INVALID = "invalid"
    REJECTED = "rejected"
    EXHAUSTED = "exhausted"
    EXPIRED = "expired"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Done:
    """The task succeeded; `value` is its result as JSON bytes (`null` for nothing)."""

    value: bytes = b"null"


@dataclass(frozen=True, slots=True)
class Retry:
    """Run it again, `after` seconds from now or by backoff, as long as attempts are left.

    `last` is the dead letter's reason when none are; `error` is text for whoever reads it.
    """

    after: float | None = None
    reason: str = ""
    last: Reason = Reason.EXHAUSTED
    error: str = ""


@dataclass(frozen=True, slots=True)
class Snooze:
    """Run it again `after` seconds from now; uses no attempt."""

    after: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reject:
    """A dead letter now; no attempt will help."""

    reason: str
    kind: Reason = Reason.REJECTED
    error: str = ""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody stopped the task: it ends without a result and without a dead letter. What the
    engine says of a task, never a handler; `reason` tells who stopped it, and why."""

    reason: str = ""


Outcome = Done | Retry | Snooze | Reject | Cancelled
