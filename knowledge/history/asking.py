"""What may be asked of history."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json

from contracts.errors import InvalidValue
from knowledge.history.states import State

LIMIT = 50
"""Items of a page, if nobody asks for more or less."""

MOST = 1000
"""Items of a page at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which tasks: None or empty means any. `since` and `until` are times of publication, the
    first included; `text` is looked for, in whatever case, in id, topic, worker, reason, error
    and note."""

    role: str | None = None
    topic: str | None = None
    tenant: str | None = None
    states: Sequence[State] = ()
    since: float | None = None
    until: float | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeathFilter:
    """Which deaths: None means any. `open` leaves out those that somebody has decided on."""

    task: str | None = None
    role: str | None = None
    tenant: str | None = None
    reason: str | None = None
    since: float | None = None
    until: float | None = None
    open: bool = False
    text: str | None = None


def stored(states: Sequence[State]) -> list[str] | None:
    """The states of rows among which those of `states` are."""
    if not states:
        return None
    return sorted({State.WAITING if s is State.DELAYED else s for s in states})


def wanted(states: Sequence[State]) -> list[str] | None:
    """The states a reader wants to see."""
    return sorted(states) if states else None


def pattern(text: str | None) -> str | None:
    """What `ILIKE` finds `text` with."""
    if not text:
        return None
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def clean(text: str) -> str:
    """`text` as the database can be asked for it: what it cannot hold, it does not have."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "�")


def cleaned(*values: Any) -> list[Any]:
    """Arguments of a question, texts among them clean."""
    return [clean(value) if isinstance(value, str) else value for value in values]


def most(limit: int) -> int:
    """`limit` if a page may be so long, else `InvalidValue`."""
    if not 1 <= limit <= MOST:
        raise InvalidValue(
            f"a page of {limit} cannot be had",
            details=f"a page has 1 to {MOST} items",
            actions=("ask for pages one after the other",),
        )
    return limit


def token(*place: Any) -> str:
    """Where a page ends."""
    return urlsafe_b64encode(to_json(place)).decode().rstrip("=")


def place(after: str | None, kinds: tuple[type | tuple[type, ...], ...]) -> Sequence[Any]:
    """Where the page before ended, as `token` wrote it; Nones for a first one. Raises
    `InvalidValue` for anything else."""
    if after is None:
        return [None] * len(kinds)
    try:
        found = from_json(urlsafe_b64decode(after + "=" * (-len(after) % 4)))
    except ValueError:  # no ASCII, no base64, no JSON
        found = None
    if isinstance(found, list) and [*map(_fits, found, kinds)] == [True] * len(kinds):
        return found
    raise InvalidValue(
        f"{after[:40]!r} is not the end of a page",
        details="`after` is what the page before said",
        actions=("begin with the first page",),
    )


def _fits(value: Any, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind)
