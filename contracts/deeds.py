"""What operators did, told while it is done.

Deeds travel as events do: as items of a CloudEvents batch on `muster.events`, of a type that those
who read events only leave out. A deed has an id of its own, so one that is told again tells nothing
new; one that is done to many tasks is told in parts, task by task, under the same id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from contracts.errors import DecodeError
from contracts.events import Event, events_of

_TYPE = "muster.deed"


class Action(StrEnum):
    """What this release tells of, in the words of its command. Others are read all the same."""

    CANCEL = "task cancel"
    RETRY = "task retry"
    REPLAY = "dlq replay"
    EDIT = "dlq edit"
    PURGE = "dlq purge"
    EMPTY = "queue purge"
    PAUSE = "pause"
    RESUME = "resume"
    SCALE = "scale"
    RETIRE = "roles rm"
    SCHEDULE = "schedule add"
    SCHEDULE_PAUSE = "schedule pause"
    SCHEDULE_RESUME = "schedule resume"
    SCHEDULE_REMOVE = "schedule rm"


class Scope(StrEnum):
    """What the `target` of a deed is: a task's id, a role, tenant, subject or schedule by its name,
    a filter of dead letters as it was typed; of `FLEET` it is empty."""

    TASK = "task"
    ROLE = "role"
    TENANT = "tenant"
    SUBJECT = "subject"
    SCHEDULE = "schedule"
    LETTERS = "letters"
    FLEET = "fleet"


@dataclass(frozen=True, slots=True)
class Concerned:
    """A task that a deed was done to; in a role, and as the copy that lay dead, where that is
    known."""

    task: str
    role: str = ""
    copy: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """Something an operator did, when it was done: one that failed is not told.

    `at`: UTC epoch seconds; `by`: user@host; `role`: the one it was about, empty for none or
    several; `tasks`: those done to, of a deed in parts those of this part; `count`: how many it met
    where they are not named; `before` and `after`: what it changed from and to. `data` is flat and
    JSON.
    """

    id: str
    at: float
    by: str
    action: str
    scope: str
    target: str = ""
    role: str = ""
    tasks: tuple[Concerned, ...] = ()
    count: int | None = None
    before: str = ""
    after: str = ""
    data: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def to(self, task: str, role: str = "", copy: int | None = None) -> "Deed":
        """The part of it that was done to this task."""
        return replace(self, tasks=(Concerned(task, role, copy),))


@dataclass(frozen=True, slots=True)
class Told:
    """What a batch tells."""

    events: Sequence[Event]
    deeds: Sequence[Deed]


def encode_deeds(deeds: Sequence[Deed]) -> bytes:
    """A CloudEvents batch of `deeds`."""
    return to_json([_to_cloudevent(deed) for deed in deeds])


def decode_told(body: bytes) -> Told:
    """All that a batch tells, or `DecodeError`; what this version does not know is left out."""
    try:
        items = from_json(body)
        events = [event for item in items for event in events_of(item)]
        return Told(events, [_from_cloudevent(item) for item in items if item["type"] == _TYPE])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DecodeError("events", f"is not a batch of events: {error}") from error


_DEFAULTED = ("target", "role", "count", "before", "after")


def _to_cloudevent(d: Deed) -> dict[str, Any]:
    """`data` tells all but the time, without what has its default."""
    data: dict[str, Any] = {"deed": d.id, "at": d.at, "by": d.by}
    data |= {"action": d.action, "scope": d.scope}
    given = {name: getattr(d, name) for name in _DEFAULTED}
    data |= {name: value for name, value in given.items() if value not in {"", None}}
    if d.tasks:
        data["tasks"] = [[one.task, one.role, one.copy] for one in d.tasks]
    if d.data:
        data["data"] = dict(d.data)
    first = d.tasks[0] if d.tasks else None
    return {
        "specversion": "1.0",
        "id": d.id if first is None else f"{d.id}/{first.role}/{first.task}",
        "type": _TYPE,
        "source": "/muster/operator",
        "time": datetime.fromtimestamp(d.at, UTC).isoformat(),
        "data": data,
    }


_ADAPTER = TypeAdapter(Deed)


def _from_cloudevent(item: Mapping[str, Any]) -> Deed:
    data = item["data"]
    fields = {name: data[name] for name in ("at", "by", "action", "scope")}
    fields |= {name: data[name] for name in _DEFAULTED if name in data}
    tasks = [Concerned(*one[:3]) for one in data.get("tasks", ())]
    given = {"id": data["deed"], "tasks": tasks, "data": data.get("data", {})}
    deed = _ADAPTER.validate_python({**fields, **given})
    return replace(deed, data=MappingProxyType(dict(deed.data)))
