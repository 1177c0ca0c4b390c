"""Runs roles; the only place where the parts meet.

Names are imported when they are first used: a command that needs no bus loads none.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bus.parts import Part as Part
    from contracts.limits import Limit as Limit
    from contracts.outcomes import Reject as Reject
    from contracts.outcomes import Retry as Retry
    from contracts.outcomes import Snooze as Snooze
    from workers.sdk.bids import Bid as Bid
    from workers.sdk.bids import Situation as Situation
    from workers.sdk.blocking import SyncContext as SyncContext
    from workers.sdk.context import Context as Context
    from workers.sdk.errors import NoResult as NoResult
    from workers.sdk.errors import TaskCancelled as TaskCancelled
    from workers.sdk.errors import TaskFailed as TaskFailed
    from workers.sdk.resources import Resource as Resource
    from workers.sdk.resources import resource as resource
    from workers.sdk.role import role as role
    from workers.wiring import Fleet as Fleet

_HOMES = {
    "Bid": "workers.sdk.bids",
    "Context": "workers.sdk.context",
    "Fleet": "workers.wiring",
    "Limit": "contracts.limits",
    "NoResult": "workers.sdk.errors",
    "Part": "bus.parts",
    "Reject": "contracts.outcomes",
    "Resource": "workers.sdk.resources",
    "Retry": "contracts.outcomes",
    "Situation": "workers.sdk.bids",
    "Snooze": "contracts.outcomes",
    "SyncContext": "workers.sdk.blocking",
    "TaskCancelled": "workers.sdk.errors",
    "TaskFailed": "workers.sdk.errors",
    "resource": "workers.sdk.resources",
    "role": "workers.sdk.role",
}

__all__ = [
    "Bid",
    "Context",
    "Fleet",
    "Limit",
    "NoResult",
    "Part",
    "Reject",
    "Resource",
    "Retry",
    "Situation",
    "Snooze",
    "SyncContext",
    "TaskCancelled",
    "TaskFailed",
    "resource",
    "role",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'workers' has no attribute {name!r}")
