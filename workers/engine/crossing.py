"""Errors of ours on their way to a child process; the class arrives: programs decide on it."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from contracts.errors import MusterError


def described(error: Exception) -> dict[str, Any]:
    """What `rebuilt` makes the same error of."""
    kind = type(error)
    told: dict[str, Any] = {
        "module": kind.__module__,
        "kind": kind.__qualname__,
        "message": str(error),
    }
    if isinstance(error, MusterError):
        told |= {
            "message": error.message,
            "details": error.details,
            "actions": error.actions,
            "retry_after": error.retry_after,
        }
    return told


def rebuilt(told: Mapping[str, Any]) -> Exception:
    """The error that was described: of its class if it is one of ours, else a `RuntimeError`."""
    found = getattr(import_module(told["module"]), told["kind"], None)
    if not (isinstance(found, type) and issubclass(found, MusterError)):
        return RuntimeError(f"{told['kind']}: {told['message']}")
    error = found.__new__(found)
    MusterError.__init__(
        error,
        told["message"],
        details=told["details"],
        actions=told["actions"],
        retry_after=told["retry_after"],
    )
    return error
