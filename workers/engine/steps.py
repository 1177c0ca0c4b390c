"""The steps of a run, one small function each; `executor` gives their order."""

import traceback
from collections.abc import Mapping
from math import isfinite
from typing import Any, TypeGuard

from pydantic_core import PydanticSerializationError, from_json, to_json

from bus.backend import MAX_BODY, Message
from bus.deadletters import cut
from bus.errors import Full
from bus.settling import from_message
from bus.stops import LATEST_DUE
from contracts.envelope import Envelope
from contracts.errors import DecodeError, MusterError
from contracts.outcomes import Done, Outcome, Reason, Reject, Retry, Snooze
from contracts.results import Result, Status
from workers.sdk.errors import InvalidPayload
from workers.sdk.role import Role

MAX_NOTE = 500
"""Bytes of a note."""

_ROOM_AFTER = 5.0
"""Seconds after which a run that could not publish is tried again."""

_MAX_DATA = 4096
"""Bytes of the data of one event."""


_SAID = (Retry, Snooze, Reject)


def read(message: Message) -> Envelope | Reject:
    """The task in a message; bytes that are none are a dead letter, never a loop."""
    try:
        return from_message(message)
    except DecodeError as error:
        return Reject(error.message, Reason.INVALID, error.details)


def allowed(task: Envelope, now: float) -> Reject | None:
    """Whether the task may still start at `now`."""
    if task.deadline is not None and task.deadline <= now:
        late = now - task.deadline
        return Reject(f"its deadline passed {late:.1f} s before it could start", Reason.EXPIRED)
    return None


def validate(role: Role, task: Envelope) -> Any | Reject:
    """The typed payload; one that does not fit never reaches the handler."""
    try:
        return role.read(task.body)
    except InvalidPayload as error:
        return Reject(error.message, Reason.INVALID, error.details)


def from_known(result: Result) -> Outcome | None:
    """What a stored outcome means for a run of the same task; a failure is worth running again,
    since only a replay can have brought it back."""
    if result.status is not Status.SUCCEEDED:
        return None
    return Done()


def from_value(role: Role, value: Any) -> Outcome:
    """The outcome that a handler's return value stands for."""
    if isinstance(value, _SAID):
        return value if isinstance(value, Reject) else _with_sane_delay(value)
    try:
        data = to_json(from_json(value.value)) if isinstance(value, Done) else role.write(value)
    except InvalidPayload as error:
        return Retry(reason=error.message, last=Reason.INVALID, error=error.details)
    if len(data) > MAX_BODY:
        size = f"{len(data):,} bytes, more than {MAX_BODY:,}"
        return Reject(f"the result has {size}: store it and return its address")
    return Done(data)


def _is_finite(seconds: object) -> TypeGuard[float]:
    return isinstance(seconds, int | float) and isfinite(seconds)


def _with_sane_delay(outcome: Retry | Snooze) -> Outcome:
    after = outcome.after
    if after is None or (_is_finite(after) and after <= LATEST_DUE):
        return outcome
    name = type(outcome).__name__
    return Reject(f"the handler returned {name} with after={after!r}, which is no time to wait")


def from_error(error: BaseException, role: Role) -> Outcome:
    """The outcome of a handler that raised: a retry where the role finds that worth it, as late as
    the error itself asks. An error of ours that says repeating is useless, such as a child that is
    a dead letter, is final. That the broker was full is no fault of the task's: it costs no
    attempt."""
    if isinstance(error, Full):
        return Snooze(_ROOM_AFTER, f"it could not publish: {error}"[:500])
    reason = f"{type(error).__name__}: {_said(error)}"[:500]
    if _is_worth_another(error, role):
        return Retry(_asked_for(error), reason, error=traced(error))
    if isinstance(error, MusterError):
        return Reject(str(error))
    return Reject(reason, error=traced(error))


def _said(error: BaseException) -> str:
    """What it says, if it can: that runs code of a role, too."""
    try:
        return str(error)
    except BaseException as other:  # noqa: BLE001 - may be this very error
        return f"its text cannot be had ({type(other).__name__})"


def _is_worth_another(error: BaseException, role: Role) -> bool:
    """Whether the role's policy gives this error another attempt."""
    if isinstance(error, role.never_retry):
        return False
    if role.retry_on is not None and isinstance(error, role.retry_on):
        return True
    return error.retryable if isinstance(error, MusterError) else role.retry_on is None


def _asked_for(error: BaseException) -> float | None:
    """Seconds to wait, where the error says so in a way that can be followed."""
    after = getattr(error, "retry_after", None)
    if _is_finite(after) and not isinstance(after, bool) and 0 <= after <= LATEST_DUE:
        return float(after)
    return None


def once(outcome: Outcome) -> Outcome:
    """What `outcome` means for a task that began and may not begin again."""
    if isinstance(outcome, Snooze):
        return Reject(f"it began, and its role runs no task twice: {outcome.reason or 'snoozed'}")
    return outcome


def traced(error: BaseException) -> str:
    """The last lines of its traceback, for whoever reads a dead letter."""
    first, *rest = traceback.format_exception(error)
    return "".join([first, *rest[-12:]])


def tellable(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """`data` if it is small and JSON: an event that cannot be told would take others with it."""
    try:
        size = len(to_json(data))
    except (PydanticSerializationError, ValueError) as error:
        return {"left_out": cut(f"not JSON: {error}", MAX_NOTE)}
    return data if size <= _MAX_DATA else {"left_out": f"{size:,} bytes"}


def from_timeout(task: Envelope, role: Role, now: float) -> Outcome:
    """The outcome of a run that took too long for its role, or for its deadline."""
    if task.deadline is not None and task.deadline <= now:
        return Reject("its deadline passed while it ran", Reason.EXPIRED)
    reason = f"it ran longer than the {role.timeout:g} s of role {role.name}"
    if _is_worth_another(TimeoutError(), role):
        return Retry(reason=reason, last=Reason.TIMEOUT)
    return Reject(reason, Reason.TIMEOUT)


def limit(task: Envelope, role: Role, now: float) -> float:
    """Seconds this run may take."""
    if task.deadline is None:
        return role.timeout
    return max(0.001, min(role.timeout, task.deadline - now))
