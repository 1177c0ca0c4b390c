"""The claim of a task that may be started once only: who began it, and how that ended."""

from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json

from bus.keyvalue.protocol import Entry, Revision
from contracts.envelope import Envelope
from contracts.outcomes import Cancelled, Done, Outcome, Reason, Reject, Snooze

ELSEWHERE = 5.0
"""Seconds after which a second message of a task that runs elsewhere asks again how that ended."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Who began a task, when, for which copy of which publish. `end` None: not known (yet).
    `mine`: it was just taken by whoever asked."""

    by: str
    worker: str
    at: float
    copy: int
    published: float
    end: Outcome | None = None
    revision: Revision = 0
    mine: bool = False


def met(claim: Claim, task: Envelope) -> Outcome:
    """What `task` comes to, which was begun before: as that run ended; a crash if nobody knows how.
    Another publish of the same task waits for that."""
    if claim.end is not None:
        return claim.end
    if claim.published != task.time:
        return Snooze(ELSEWHERE, "it was published twice, and runs already")
    return Reject(f"it began on {claim.worker}, which did not say how it ended", Reason.CRASH)


def open_of(claim: Claim, task: Envelope) -> Claim | None:
    """`claim` if what `task` comes to is to be its end."""
    return claim if claim.end is None and isinstance(met(claim, task), Reject) else None


def encoded(claim: Claim) -> bytes:
    """As bytes: a line of JSON, and the result after it as it is."""
    head: dict[str, Any] = {
        "by": claim.by,
        "worker": claim.worker,
        "at": claim.at,
        "copy": claim.copy,
        "published": claim.published,
    }
    body = b""
    match claim.end:
        case Done(value=value):
            head["end"], body = "done", value
        case Reject(reason=reason, kind=kind, error=error):
            head |= {"end": "reject", "reason": reason, "kind": kind, "error": error}
        case Cancelled(reason=reason):
            head |= {"end": "cancelled", "reason": reason}
    return to_json(head) + b"\n" + body


def read(entry: Entry) -> Claim:
    """The claim in an entry."""
    head, _, body = entry.value.partition(b"\n")
    told = from_json(head)
    end: Outcome | None = None
    match told.get("end"):
        case "done":
            end = Done(body)
        case "reject":
            end = Reject(told["reason"], Reason(told["kind"]), told["error"])
        case "cancelled":
            end = Cancelled(told["reason"])
    who = (told["by"], told["worker"], told["at"], told["copy"], told["published"])
    return Claim(*who, end=end, revision=entry.revision)
