"""What comes back from a crash, as pure functions: whom to blame, and what it comes to.

A delivery that somebody had before and never answered may have killed its worker, or may only
have lain beside what did. It uses up its attempt either way, and what is left of it is *suspect*:
it runs in a child process, where a killer kills nobody else and the blame is exact.
"""

from dataclasses import dataclass, replace

from bus.backend import Delivery
from bus.settling import Finished, Policy, from_message
from contracts.envelope import Envelope
from contracts.errors import DecodeError
from contracts.outcomes import Cancelled, Done, Outcome, Reason, Reject, Retry, Snooze
from contracts.results import Result, Status


@dataclass(frozen=True, slots=True)
class Blame:
    """By what policy crashes of a role are counted, and which worker counts them."""

    policy: Policy
    worker: str
    pid: int


def crashed(delivery: Delivery, blame: Blame, now: float) -> Finished | None:
    """The end of a run that nobody answered for: a suspect copy at once, or a dead letter with
    reason `crash` when its attempts are used up.

    However many hand-overs were not answered, only the first was ever shown upward, so one attempt
    is used up. None for a first hand-over, and for bytes that are no task: nothing ran
    them, and they become a dead letter where they are read.
    """
    if not delivery.earlier:
        return None
    try:
        task = from_message(delivery.message)
    except DecodeError:
        return None
    reason = f"its worker died or was cut off during attempt {task.attempt + 1}"
    return Finished(
        delivery=delivery,
        task=replace(task, suspect=True),
        outcome=Retry(after=0.0, reason=reason, last=Reason.CRASH),
        policy=blame.policy,
        worker=blame.worker,
        pid=blame.pid,
        started=now,
        ended=now,
    )


def is_last(task: Envelope, policy: Policy) -> bool:
    """Whether this attempt of `task` is its last one: when it crashes, the task is dead."""
    return task.attempt + 1 >= policy.attempts


def unbegun(finished: Finished) -> Finished:
    """The same for a last attempt that was handed over and never began: it is not used up."""
    return replace(finished, outcome=Snooze(0.0, "it was handed over and never began"))


def unless_known(finished: Finished, known: Result | None) -> Finished:
    """The same, or the end it had before: the run had made its outcome safe and died, or the
    broker forgot that it was settled. A failure of an earlier copy was replayed since."""
    if known is None or finished.task is None:
        return finished
    if known.status is not Status.SUCCEEDED and known.fence < finished.task.copy:
        return finished
    return replace(finished, outcome=_as_outcome(known), known=True)


def _as_outcome(known: Result) -> Outcome:
    if known.status is Status.SUCCEEDED:
        return Done()
    if known.status is Status.CANCELLED:
        return Cancelled(known.error)
    return Reject(known.error, known.reason or Reason.REJECTED)
