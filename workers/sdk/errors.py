"""Errors a role author or a caller meets."""

from contracts.errors import MusterError
from contracts.outcomes import Reason
from contracts.results import Result, Status


class WorkerError(MusterError):
    """The root of this package's errors."""


class RoleError(WorkerError):
    """A role that cannot be used: it does not import, is declared wrongly or exists twice."""


class ResourceFailed(WorkerError):
    """A resource of a role could not be opened; its worker ends."""

    retryable = True


class HandlerStuck(WorkerError):
    """A plain `def` handler did not stop when its run was to end; its worker ends."""


class UnknownRole(WorkerError):
    """A role nobody has declared, or that nobody runs yet."""

    retryable = True


class InvalidPayload(WorkerError):
    """A payload or result that does not fit the type its role declares."""


class TaskFailed(WorkerError):
    """The task ended as a dead letter; `result` says how."""

    def __init__(self, result: Result) -> None:
        reason = result.reason or Reason.REJECTED
        super().__init__(
            f"task {result.id} failed: {reason}",
            details=result.error,
            actions=(f"look at it with `muster dlq show {result.id}`",),
        )
        self.result = result


class TaskCancelled(TaskFailed):
    """Somebody cancelled the task; `result` says who, and why. There is no dead letter."""

    def __init__(self, result: Result) -> None:
        super().__init__(result)
        self.message = f"task {result.id} was cancelled"
        self.details = result.error or "nobody said why"
        self.actions = ("publish it again if it is wanted after all",)


class NoResult(WorkerError, TimeoutError):
    """The task has not ended within the time the caller gave; it goes on."""

    retryable = True


def succeeded(result: Result) -> Result:
    """`result` if the task succeeded; else raises `TaskFailed`, or `TaskCancelled` for one that
    was cancelled."""
    if result.status is Status.CANCELLED:
        raise TaskCancelled(result)
    if result.status is not Status.SUCCEEDED:
        raise TaskFailed(result)
    return result
