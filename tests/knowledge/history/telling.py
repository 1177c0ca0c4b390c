"""Events as publishers and workers tell them."""

from dataclasses import replace
from typing import Any

from contracts.events import TOLD_BY_PUBLISHERS, Event, Kind
from contracts.ids import new_id

T0 = 1_700_000_000.0
"""When the tasks of tests are published."""


def task_id() -> str:
    return new_id(T0)


def told(kind: Kind, task: str, at: float = 0.0, **given: Any) -> Event:
    """An event `at` seconds after `T0`; what is no field of an event is its data."""
    fields: dict[str, Any] = {
        "topic": "text.write",
        "role": "" if kind is Kind.PUBLISHED else "writer",
        "copy": 0,
        "attempt": 0 if kind in TOLD_BY_PUBLISHERS else 1,
        "worker": "fleet" if kind in TOLD_BY_PUBLISHERS else "writer-1",
        "pid": 7,
        "published": T0,
        "tenant": "default",
        "correlation": None,
        "number": 0,
    }
    fields |= {name: given.pop(name) for name in list(given) if name in fields}
    return Event(kind=kind, at=T0 + at, task=task, data=given, **fields)


def story(task: str, **given: Any) -> list[Event]:
    """A task that is published, fails once and succeeds."""
    first = [
        told(Kind.PUBLISHED, task, 0.0),
        told(Kind.STARTED, task, 1.0),
        told(Kind.RETRIED, task, 2.0, seconds=1.0, reason="busy", after=5.0),
        told(Kind.STARTED, task, 8.0, copy=1, attempt=2, worker="writer-2"),
        told(
            Kind.SUCCEEDED,
            task,
            9.5,
            copy=1,
            attempt=2,
            worker="writer-2",
            seconds=1.5,
            payload='{"text": "a"}',
            result='{"length": 1}',
        ),
    ]
    return [replace(event, **given) for event in first]
