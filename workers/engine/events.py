"""What happens to a run, as an event tells it."""

from collections.abc import Mapping
from typing import Any

from contracts.envelope import Envelope
from contracts.events import Event, Kind
from workers.engine.identity import Identity
from workers.sdk.role import Role


def event(
    task: Envelope,
    role: Role,
    who: Identity,
    *,
    kind: Kind,
    at: float,
    number: int = 0,
    data: Mapping[str, Any] | None = None,
) -> Event:
    """An event of a run of `task` in this process."""
    return Event(
        kind=kind,
        at=at,
        task=task.id,
        topic=task.topic,
        role=role.name,
        copy=task.copy,
        attempt=task.attempt + 1,
        worker=who.name,
        pid=who.pid,
        published=task.time,
        tenant=task.tenant,
        correlation=task.correlation,
        number=number,
        data=data or {},
    )
