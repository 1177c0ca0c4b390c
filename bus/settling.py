"""What must exist after a run: a pure function of the outcome, the role's policy and the time."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType

from pydantic_core import from_json

from bus.backend import SLICES, Delivery, Lane, LaneName, Message
from bus.backoff import Backoff
from bus.claims import Claim
from bus.deadletters import DeadLetter, cut
from bus.lanes import slice_of
from bus.replays import replays_in
from contracts.envelope import Envelope, Priority, decode, encode
from contracts.events import Event, Kind
from contracts.ids import content_id
from contracts.outcomes import Cancelled, Done, Outcome, Reason, Reject, Retry, Snooze
from contracts.quick import quick
from contracts.results import Result, Status

_LANES: Mapping[Priority, LaneName] = MappingProxyType(
    {Priority.HIGH: LaneName.HIGH, Priority.NORMAL: LaneName.NORMAL, Priority.LOW: LaneName.LOW}
)

_RETRY, _SUCCEEDED = LaneName.RETRY, Status.SUCCEEDED

_KINDS: Mapping[Status, Kind] = MappingProxyType({status: Kind(status.value) for status in Status})

_TOLD = 500
"""Bytes of a reason that an event tells; the dead letter keeps more of it."""

_WHOLE = 64 * 1024
"""Bytes of a payload or a result up to which the event of a task's end has it, for history."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a role promises its tasks: how many runs, and how retries spread. With `once` a task is
    started at most once, and that is remembered for so many seconds."""

    attempts: int = 5
    backoff: Backoff = field(default_factory=Backoff)
    once: float | None = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A run that ended. `task` is None when the bytes were not an envelope. `known`: its end was
    made safe before, by a run that could not settle any more. `began`: its handler was called, or
    its beginning was noted. `claim`: what the end of a task that may be started once replaces."""

    delivery: Delivery
    task: Envelope | None
    outcome: Outcome
    policy: Policy
    worker: str
    pid: int
    started: float
    ended: float
    known: bool = False
    began: bool = False
    claim: Claim | None = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is made safe before the input is forgotten."""

    then: tuple[Message, ...] = ()
    dead: DeadLetter | None = None
    result: Result | None = None
    event: Event | None = None


def to_message(task: Envelope, *, group: str | None, due: float = 0.0) -> Message:
    """`task` as a backend carries it; what comes back or waits lies in the retry lane, each in
    the slice of its tenant."""
    name = _RETRY if task.copy or due else _LANES[task.priority]
    lane = _lane(name, slice_of(task.tenant))
    return Message(task.id, task.copy, task.topic, task.body, encode(task), lane, due, group)


@lru_cache(maxsize=len(LaneName) * SLICES)
def _lane(name: LaneName, number: int) -> Lane:
    return Lane(name, number)


def from_message(message: Message) -> Envelope:
    """The task in a message, its copy never lower than the message's; or `DecodeError`."""
    task = decode(message.headers, message.body)
    return task if task.copy >= message.copy else replace(task, copy=message.copy)


def plan(f: Finished, rng: random.Random) -> Plan:
    """What must exist after `f`."""
    match f.outcome:
        case Done():
            return _ended(f, _SUCCEEDED)
        case Snooze(after=after, reason=reason):
            return _again(f, after, Kind.SNOOZED, reason, use=0)
        case Retry() as retry if _attempts_left(f):
            tries = f.task.attempt if f.task else 0
            after = f.policy.backoff.delay(tries, rng) if retry.after is None else retry.after
            return _again(f, after, Kind.RETRIED, retry.reason, use=1)
        case Retry(reason=reason, last=last, error=error):
            return _dead(f, last, reason, error)
        case Reject(reason=reason, kind=kind, error=error):
            return _dead(f, kind, reason, error)
        case Cancelled(reason=reason):
            return _ended(f, Status.CANCELLED, error=cut(reason))


def hand_back(delivery: Delivery, task: Envelope | None, due: float = 0.0) -> Message:
    """The next copy of a task given back unrun or unfinished; it has used no attempt."""
    if task is not None:
        return to_message(task.again(), group=delivery.group, due=due)
    m = delivery.message
    return Message(
        m.id or content_id(dict(m.headers), m.body),
        m.copy + 1,
        m.topic,
        m.body,
        m.headers,
        Lane(LaneName.RETRY, m.lane.slice),
        due,
        delivery.group,
    )


def _attempts_left(f: Finished) -> bool:
    return f.task is not None and f.task.attempt + 1 < f.policy.attempts


def _again(f: Finished, after: float, kind: Kind, reason: str, *, use: int) -> Plan:
    if f.task is None:
        return Plan(then=(hand_back(f.delivery, None),))
    again = f.task.again(attempt=f.task.attempt + use)
    due = f.ended + after if after > 0 else 0.0
    message = to_message(again, group=f.delivery.group, due=due)
    told: dict[str, object] = {"reason": cut(reason, _TOLD), "after": round(after, 3)}
    return Plan(then=(message,), event=_event(f, kind, told))


def _dead(f: Finished, kind: Reason, reason: str, error: str) -> Plan:
    text = cut(f"{reason}\n{error}" if error and error != reason else reason)
    letter = None if f.known else _letter(f, kind, text)
    ended = _ended(f, Status.FAILED, reason=kind, error=text)
    return Plan(dead=letter, result=ended.result, event=ended.event)


def _letter(f: Finished, reason: Reason, error: str) -> DeadLetter:
    m = f.delivery.message
    return DeadLetter(
        id=_id(f),
        group=f.delivery.group,
        topic=m.topic,
        reason=reason,
        error=error,
        attempts=_attempts_used(f, reason),
        copy=max(m.copy, f.task.copy if f.task else 0),
        worker=f.worker,
        died=f.ended,
        published=f.task.time if f.task else 0.0,
        replays=replays_in(m.headers),
        headers=dict(m.headers),
        body=m.body,
    )


def _id(f: Finished) -> str:
    """What the task is called, also where its bytes do not tell."""
    m = f.delivery.message
    return f.task.id if f.task else m.id or content_id(dict(m.headers), m.body)


def _attempts_used(f: Finished, reason: Reason) -> int:
    used = f.task.attempt if f.task else 0
    unrun = reason in {Reason.EXPIRED, Reason.INVALID, Reason.BUDGET}
    return used + (0 if unrun and not isinstance(f.outcome, Retry) else 1)


def _ended(f: Finished, status: Status, *, reason: Reason | None = None, error: str = "") -> Plan:
    data = _bodies(f.delivery.message.body, f.outcome)
    if reason:
        data["reason"] = reason
    if reason or error:
        data["error"] = cut(error, _TOLD)
    event = _event(f, _KINDS[status], data)
    if f.task is None or f.task.reply is None or f.known:
        return Plan(event=event)
    value = from_json(f.outcome.value) if isinstance(f.outcome, Done) else None
    result = Result(
        id=f.task.id,
        status=status,
        role=f.delivery.group,
        worker=f.worker,
        fence=f.task.copy,
        attempt=f.task.attempt + 1,
        finished=f.ended,
        value=value,
        reason=reason,
        error=error,
    )
    return Plan(result=result, event=event)


def _bodies(payload: bytes, outcome: Outcome) -> dict[str, object]:
    """Payload and result as text; of one that is too large or no text, its size."""
    found: dict[str, object] = {}
    _put_body(found, "payload", payload)
    if isinstance(outcome, Done):
        _put_body(found, "result", outcome.value)
    return found


def _put_body(found: dict[str, object], name: str, body: bytes) -> None:
    try:
        if len(body) <= _WHOLE:
            found[name] = body.decode()
            return
    except UnicodeDecodeError:
        pass
    found[f"{name}_bytes"] = len(body)


def _event(f: Finished, kind: Kind, data: dict[str, object]) -> Event:
    """The event of this run; `data` becomes its own."""
    data["seconds"] = round(f.ended - f.started, 6)
    task = f.task or _unread(f)
    return Event(
        kind=kind,
        at=f.ended,
        task=task.id,
        topic=task.topic,
        role=f.delivery.group,
        copy=task.copy,
        attempt=task.attempt + 1,
        worker=f.worker,
        pid=f.pid,
        published=task.time,
        tenant=task.tenant,
        correlation=task.correlation,
        data=data,
    )


def _unread(f: Finished) -> Envelope:
    """What the broker knows of bytes that are no envelope."""
    m = f.delivery.message
    return Envelope(id=_id(f), topic=m.topic, source="", time=0.0, body=m.body, copy=m.copy)
