"""An event as a row of the table `incoming`. Pure.

Nothing that an event says may keep others from being recorded: what a database cannot hold is
mended where it is only told, and raises `Unrecordable` where it names something.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from contracts.events import Event, Kind
from knowledge.history.states import MEANINGS

Row = tuple[Any, ...]

COLUMNS = (
    "told kind at published task topic tenant correlation role copy attempt worker pid number"
    " state step due started seconds cost reason error share note payload result payload_bytes"
    " result_bytes priority deadline parent subjects data"
).split()
"""Of `sql/incoming.sql`, in the order of a row."""

_INT = 2**31 - 1
_BIGINT = 2**63 - 1
_LAST = 253_402_300_799.0
"""The end of the year 9999, after which there are no dates."""

_SECONDS = 1e9
_MONEY = 10**15
"""Of one run at most, micro-dollars: sums of what is more would end in an error one day, and with
it keep out everything that is to be added to them."""

_APART = frozenset({"payload", "result"})


class Unrecordable(ValueError):
    """An event that names its task, role, time or place in a way no row can hold."""


def to_row(event: Event) -> Row:
    """The row of `event`; raises `Unrecordable`."""
    data = event.data
    meaning = MEANINGS[event.kind]
    at = _time(event.at)
    seconds = _number(data.get("seconds"), _SECONDS)
    published, replayed = event.kind is Kind.PUBLISHED, event.kind is Kind.REPLAYED
    if not published and not event.role:
        raise Unrecordable("only what is published may be for whoever is bound")
    return (
        told(event),
        event.kind.value,
        at,
        *_which(event),
        -1 if published else _whole(event.copy, _INT),
        _whole(event.attempt, _INT),
        _name(event.worker),
        _whole(event.pid, _INT),
        _whole(event.number, _BIGINT),
        meaning.state.value,
        int(meaning.step),
        _due(event.kind, at, data),
        _started(event.kind, at, seconds),
        seconds,
        _count(data.get("cost"), _MONEY),
        _text(data.get("reason")),
        _text(data.get("error")),
        _number(data.get("share"), 1.0),
        _text(data.get("by") or event.worker if replayed else data.get("note")),
        _text(data.get("payload")),
        _text(data.get("result")),
        _count(data.get("payload_bytes")),
        _count(data.get("result_bytes")),
        _text(data.get("priority")) or "normal" if published else None,
        _number(data.get("deadline"), _LAST),
        _text(data.get("parent")),
        _subjects(data.get("subjects")),
        _rest(data),
    )


def _which(event: Event) -> Row:
    """When the task was published, as a header of the envelope holds it, and its names."""
    return (
        round(_time(event.published), 6),
        _name(event.task),
        _name(event.topic),
        _name(event.tenant),
        _text(event.correlation),
        _name(event.role),
    )


def told(event: Event) -> int:
    """A hash of the event's id that a `bigint` holds: equal for equal ids; with the task and the
    time beside it, different for different ones."""
    digest = blake2b(event.id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _time(value: Any) -> float:
    number = _number(value, _LAST)
    if number is None:
        raise Unrecordable(f"{value!r} is not a time")
    return number


def _number(value: Any, most: float) -> float | None:
    """`value` if it is a number from 0 to `most`; not a number is none."""
    return float(value) if isinstance(value, int | float) and 0 <= value <= most else None


def _whole(value: Any, most: int) -> int:
    if not isinstance(value, int) or not 0 <= value <= most:
        raise Unrecordable(f"{value!r} is not a number from 0 to {most}")
    return value


def _count(value: Any, most: int = _BIGINT) -> int | None:
    return value if isinstance(value, int) and 0 <= value <= most else None


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise Unrecordable(f"{value!r} is not a name")
    if (not value.isascii() or "\x00" in value) and _mended(value) != value:
        raise Unrecordable(f"{value!r} holds what no text column can")
    return value


def _text(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else repr(value)
    return text if text.isascii() and "\x00" not in text else _mended(text)


def _mended(text: str) -> str:
    """Without what PostgreSQL does not store: NUL, and halves of characters."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return whole.replace("\x00", "�")


def _subjects(value: Any) -> list[str] | None:
    if not isinstance(value, list | tuple):
        return None
    return [_mended(str(each)) for each in value]


def _due(kind: Kind, at: float, data: Mapping[str, Any]) -> float | None:
    if kind is Kind.PUBLISHED:
        return _number(data.get("due"), _LAST) or None
    after = _number(data.get("after"), _LAST)
    return None if after is None else min(at + after, _LAST)


def _started(kind: Kind, at: float, seconds: float | None) -> float | None:
    if kind is Kind.STARTED:
        return at
    return None if seconds is None else at - seconds


def _rest(data: Mapping[str, Any]) -> str | None:
    """The data but for what has a table of its own, as JSON."""
    rest = {name: value for name, value in data.items() if name not in _APART}
    if not rest:
        return None
    try:
        return to_json(rest, inf_nan_mode="null").decode()
    except (PydanticSerializationError, ValueError):
        return to_json({_mended(str(n)): _mended(str(v)) for n, v in rest.items()}).decode()
