"""The outcome of an award, as bytes that anybody can publish: the winner, or who comes after it.

What is left to chance or to the clock is settled before it is written down, so that whoever
publishes it, and however often, publishes the same.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_core import from_json, to_json

from bus.backend import Delivery, Message
from bus.settling import Finished, Plan, Policy, from_message, plan, to_message
from contracts.envelope import Envelope, decode, encode
from contracts.outcomes import Cancelled, Done, Outcome, Reason, Reject, Retry, Snooze
from workers.auctions.marks import next_block, unmarked

NO_LIMIT = 1 << 40
"""Attempts of the policy under which it is published: whether any are left was settled before."""


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A task that the run has published, due at that time (0: now)."""

    task: Envelope
    due: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A run that ended, and what it has published. `token` is that of its award."""

    finished: Finished
    token: int
    follow_ups: Sequence[FollowUp] = field(default=())


def resolved(finished: Finished, rng: random.Random) -> Finished:
    """The same, with the wait of a retry drawn; without attempts left it is a rejection."""
    outcome, task = finished.outcome, finished.task
    if not isinstance(outcome, Retry) or task is None:
        return finished
    if task.attempt + 1 >= finished.policy.attempts:
        last = Reject(outcome.reason, outcome.last, outcome.error)
        return replace(finished, outcome=last)
    if outcome.after is None:
        after = finished.policy.backoff.delay(task.attempt, rng)
        outcome = replace(outcome, after=after)
    return replace(finished, outcome=outcome)


def written(ended: Ended) -> bytes:
    """As bytes: a line of JSON, then the bodies of the value and of what was published."""
    f, value = ended.finished, b""
    if isinstance(f.outcome, Done):
        value = f.outcome.value
    head = {
        "version": 1,
        "token": ended.token,
        "group": f.delivery.group,
        "worker": f.worker,
        "pid": f.pid,
        "started": f.started,
        "ended": f.ended,
        "known": f.known,
        "headers": _headers(f),
        "outcome": _said(f.outcome),
        "value": len(value),
        "follow_ups": [_follow_up(one) for one in ended.follow_ups],
    }
    bodies = [one.task.body for one in ended.follow_ups]
    return b"".join([to_json(head), b"\n", value, *bodies])


def read(data: bytes, body: bytes) -> Ended:
    """The end in `data` of the task with this body."""
    line, _, rest = data.partition(b"\n")
    head = from_json(line)
    value, rest = rest[: head["value"]], rest[head["value"] :]
    headers: dict[str, str] = head["headers"]
    task = decode(headers, body)
    message = Message(task.id, task.copy, task.topic, body, headers, group=head["group"])
    finished = Finished(
        delivery=Delivery(message, head["group"], 0, None),
        task=task,
        outcome=_outcome(head["outcome"], value),
        policy=Policy(attempts=NO_LIMIT),
        worker=head["worker"],
        pid=head["pid"],
        started=head["started"],
        ended=head["ended"],
        known=head["known"],
    )
    follow_ups = []
    for one in head["follow_ups"]:
        part, rest = rest[: one["size"]], rest[one["size"] :]
        follow_ups.append(FollowUp(decode(one["headers"], part), one["due"]))
    return Ended(finished=finished, token=head["token"], follow_ups=tuple(follow_ups))


def plan_of(ended: Ended) -> Plan:
    """What must exist after `ended`, the copies in a block of their own."""
    f = ended.finished
    found = plan(f, random.Random(0))  # nothing is drawn: `resolved` did
    copy = f.task.copy if f.task is not None else f.delivery.message.copy
    dead = found.dead
    if dead is not None:
        dead = replace(dead, copy=next_block(copy) - 1)
    return replace(found, then=tuple(_later(m, copy) for m in found.then), dead=dead)


def _later(message: Message, copy: int) -> Message:
    task = replace(from_message(message), copy=next_block(copy))
    return to_message(task, group=message.group, due=message.due)


def _headers(f: Finished) -> dict[str, str]:
    if f.task is None:
        return dict(f.delivery.message.headers)
    return encode(unmarked(f.task))


def _follow_up(one: FollowUp) -> dict[str, Any]:
    return {"headers": encode(one.task), "due": one.due, "size": len(one.task.body)}


def _said(outcome: Outcome) -> dict[str, Any]:
    match outcome:
        case Done():
            return {"is": "done"}
        case Retry(after=after, reason=reason, last=last, error=error):
            return {"is": "retry", "after": after, "reason": reason, "last": last, "error": error}
        case Snooze(after=after, reason=reason):
            return {"is": "snooze", "after": after, "reason": reason}
        case Reject(reason=reason, kind=kind, error=error):
            return {"is": "reject", "reason": reason, "kind": kind, "error": error}
        case Cancelled(reason=reason):
            return {"is": "cancelled", "reason": reason}


def _outcome(said: dict[str, Any], value: bytes) -> Outcome:
    match said["is"]:
        case "done":
            return Done(value)
        case "retry":
            return Retry(said["after"], said["reason"], Reason(said["last"]), said["error"])
        case "snooze":
            return Snooze(said["after"], said["reason"])
        case "reject":
            return Reject(said["reason"], Reason(said["kind"]), said["error"])
        case _:
            return Cancelled(said["reason"])
