"""What the headers of a task tell of those who gave it back, also when it dies again.

Headers travel with a task; its dead letter goes when it is replayed.
"""

from collections.abc import Mapping
from typing import Any

from bus.backend import Message
from contracts.envelope import REPLAYED, SUSPECT, decode
from contracts.errors import DecodeError
from contracts.events import Event, Kind
from contracts.headers import quoted, rfc3339, shown

REPLAYS = "muster-replays"
"""How often it was replayed, so that a task which dies again is known."""

REPLAYED_BY = "muster-replayed-by"
"""Who replayed it last (user@host)."""

FORCED = "muster-replay-forced"
"""That its last replay went over the guard."""

EDITED = "muster-edited"
"""When a person last changed its payload, as CloudEvents write a time."""

EDITED_BY = "muster-edited-by"
"""Who that was (user@host)."""


def signed(headers: Mapping[str, str], *, by: str, forced: bool) -> dict[str, str]:
    """`headers` with who replays the task now."""
    kept = {n: v for n, v in headers.items() if n not in {REPLAYED_BY, FORCED}}
    if by:
        kept[REPLAYED_BY] = quoted(by)
    if forced:
        kept[FORCED] = "1"
    return kept


def edited(headers: Mapping[str, str], *, by: str, at: float) -> dict[str, str]:
    """`headers` with who changed the payload, and when (UTC epoch seconds)."""
    return {**headers, EDITED: rfc3339(at), EDITED_BY: quoted(by)}


def again(
    headers: Mapping[str, str], *, copy: int, replays: int, suspect: bool, now: float
) -> dict[str, str]:
    """The headers of the next copy: all attempts back, a deadline that has passed dropped.
    `suspect`: it runs in a child process."""
    found = {n: v for n, v in headers.items() if n != "muster-attempt"}
    found[REPLAYS] = str(replays)
    if suspect:
        found[SUSPECT] = "1"
    if "ce-id" in found:
        found[REPLAYED] = repr(now)
        found["muster-copy"] = str(copy)
    if _passed(found.get("muster-deadline"), now):
        del found["muster-deadline"]
    return found


def telling(message: Message, *, now: float) -> list[Event]:
    """What is told of a replay; nothing of bytes that are no task."""
    try:
        task = decode(message.headers, message.body)
    except DecodeError:
        return []
    by = said_in(message.headers, REPLAYED_BY)
    return [
        Event(
            kind=Kind.REPLAYED,
            at=now,
            task=task.id,
            topic=task.topic,
            role=message.group or "",
            copy=message.copy,
            attempt=0,
            worker=by,
            pid=0,
            published=task.time,
            tenant=task.tenant,
            correlation=task.correlation,
            data={"by": by} if by else {},
        )
    ]


def replays_in(headers: Mapping[str, Any]) -> int:
    """How often the task with these headers has been replayed."""
    value = str(headers.get(REPLAYS, "0"))
    return int(value) if value.isascii() and value.isdigit() and len(value) < 6 else 0


def said_in(headers: Mapping[str, str], name: str) -> str:
    """The text of one of these headers; empty without."""
    return shown(headers.get(name, ""))


def _passed(deadline: str | None, now: float) -> bool:
    try:
        return deadline is not None and float(deadline) <= now
    except ValueError:
        return False
