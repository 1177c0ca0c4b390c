"""The root of every error muster raises.

Each package grows one small tree of its own from `MusterError`. Programs decide on the class;
people read the three lines that `lines()` gives: what happened, why, what to do.
"""

from collections.abc import Sequence
from typing import Any, ClassVar


class MusterError(Exception):
    """What happened (`message`), why (`details`), what to do (`actions`).

    `retryable` says whether the same call may succeed later without a change by the caller;
    `retry_after` is the earliest useful time for that, in seconds from now.
    """

    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        details: str = "",
        actions: Sequence[str] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.actions = tuple(actions)
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.message} ({self.details})" if self.details else self.message

    def lines(self) -> tuple[str, str, str]:
        """The error for a person: what happened, why, what to do."""
        return self.message, self.details, "; ".join(self.actions)

    def as_json(self) -> dict[str, Any]:
        """The error for a program that reads `--json` output."""
        return {
            "error": type(self).__name__,
            "message": self.message,
            "details": self.details,
            "actions": list(self.actions),
            "retryable": self.retryable,
            "retry_after": self.retry_after,
        }


class DecodeError(MusterError):
    """Bytes and headers that are not an envelope; `field` names what is wrong."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(
            f"the message is not a muster envelope: {field} {reason}",
            details=f"field {field!r}: {reason}",
            actions=("see it: `muster dlq show`", "mend the publisher, then replay or purge"),
        )
        self.field = field
        self.reason = reason


class InvalidTopic(MusterError):
    """A topic or pattern that breaks the rules of `contracts.topics`."""


class InvalidValue(MusterError):
    """An argument outside its range, such as an unknown priority or a deadline in the past."""
