"""What leaves a fleet, as CloudEvents. Pure."""

from collections.abc import Iterator

from pydantic_core import to_json

from bus.backend import Message
from contracts.envelope import decode
from contracts.events import TERMINAL, Event, Kind, decode_events, encode_events
from contracts.headers import rfc3339
from contracts.topics import matches
from workers.bridge.messages import FLEET, Leaving

_TYPE = "muster.task."


def task_out(message: Message, fleet: str) -> Leaving:
    """A task as an event whose type is its topic. Raises `DecodeError`."""
    task = decode(message.headers, message.body)
    attributes = {
        "specversion": "1.0",
        "id": task.id,
        "source": task.source,
        "type": task.topic,
        "time": rfc3339(task.time),
        FLEET: fleet,
        "mustertenant": task.tenant,
    }
    return Leaving(attributes=attributes, data=task.body, content_type=task.content_type)


def ended(body: bytes, pattern: str, fleet: str) -> Iterator[tuple[Leaving, bytes]]:
    """How the tasks of `pattern` ended that a batch of events tells of, each with a batch that
    tells of it alone. Raises `DecodeError`."""
    for event in decode_events(body):
        if event.kind in TERMINAL and matches(pattern, event.topic):
            yield _end_out(event, fleet), encode_events([event])


def _end_out(event: Event, fleet: str) -> Leaving:
    attributes = {
        "specversion": "1.0",
        "id": event.id,
        "source": f"/muster/{fleet}/{event.role}",
        "type": f"{_TYPE}{event.kind}",
        "subject": event.task,
        "time": rfc3339(event.at),
        FLEET: fleet,
        "mustertopic": event.topic,
        "musterrole": event.role,
        "mustertenant": event.tenant,
    }
    if event.correlation is not None:
        attributes["mustercorrelation"] = event.correlation
    if event.kind is not Kind.SUCCEEDED:
        said = {name: event.data.get(name, "") for name in ("reason", "error")}
        return Leaving(attributes=attributes, data=to_json(said))
    if "result_bytes" in event.data:
        attributes["musterresultbytes"] = str(event.data["result_bytes"])
    return Leaving(attributes=attributes, data=str(event.data.get("result", "null")).encode())
