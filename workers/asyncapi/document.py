"""The AsyncAPI 3.0 document of a fleet: what it takes, on which channels, and what it answers.

Specification: https://www.asyncapi.com/docs/reference/specification/v3.0.0. The document tells of
the fleet as an application: it *receives* tasks and *sends* events. Everything in it is made from
the declarations of the roles; nothing is asked of a broker.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.topics import EVENTS, RESERVED
from workers.asyncapi.addresses import Addresses
from workers.asyncapi.envelopes import EVENTS_SCHEMA, TASK_HEADERS, result_schema
from workers.asyncapi.schemas import Schemas
from workers.sdk.role import Role

SPECIFICATION = "3.0.0"
"""Version of the specification a document follows."""

_OUTCOMES = f"{RESERVED}.outcomes"
_TASK_HEADERS = "TaskHeaders"
_EVENT_BATCH = "EventBatch"

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a document tells of the fleet itself. `server`: as the document has it, None where no
    bus is known."""

    fleet: str
    version: str
    addresses: Addresses
    server: Mapping[str, Any] | None = None


def document(roles: Iterable[Role], about: About) -> Document:
    """The document of a fleet of `roles`."""
    ordered = sorted(roles, key=lambda role: role.name)
    schemas = Schemas()
    schemas.put(_TASK_HEADERS, TASK_HEADERS)
    schemas.put(_EVENT_BATCH, EVENTS_SCHEMA)
    messages = _messages(ordered, schemas)
    found: Document = {
        "asyncapi": SPECIFICATION,
        "info": _info(about),
        "defaultContentType": "application/json",
        "channels": _channels(ordered, about),
        "operations": _operations(ordered),
        "components": {
            "messages": messages,
            "schemas": schemas.found,
            "parameters": dict(about.addresses.parameters),
        },
    }
    if about.server is not None:
        found["servers"] = {"bus": dict(about.server)}
    return found


def channel_of(pattern: str) -> str:
    """The name of the channel of a topic pattern: letters, digits, `.`, `-` and `_` only."""
    return pattern.replace("*", "_any").replace("#", "_rest")


def _info(about: About) -> dict[str, Any]:
    return {
        "title": f"The muster fleet {about.fleet}",
        "version": about.version,
        "description": (
            "Tasks are CloudEvents in binary mode: attributes and muster's own words are headers, "
            "the payload is the body. " + about.addresses.note
        ),
    }


def _reference(*path: str) -> dict[str, str]:
    return {"$ref": "#/" + "/".join(path)}


def _messages(roles: Sequence[Role], schemas: Schemas) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for role in roles:
        payload = schemas.of(role.payload, f"{role.name}.task", mode="validation")
        result = schemas.of(role.result, f"{role.name}.value", mode="serialization")
        schemas.put(f"{role.name}.outcome", result_schema(role.name, result))
        found[f"{role.name}.task"] = {
            "title": f"A task for {role.name}",
            **({"summary": role.summary} if role.summary else {}),
            "contentType": "application/json",
            "correlationId": {"location": "$message.header#/ce-id"},
            "headers": _reference("components", "schemas", _TASK_HEADERS),
            "payload": payload,
        }
        found[f"{role.name}.outcome"] = {
            "title": f"How a task of {role.name} ended",
            "contentType": "application/json",
            "correlationId": {"location": "$message.payload#/id"},
            "payload": _reference("components", "schemas", f"{role.name}.outcome"),
        }
    found[_EVENT_BATCH] = {
        "title": "What happened to tasks",
        "contentType": "application/cloudevents-batch+json",
        "payload": _reference("components", "schemas", _EVENT_BATCH),
    }
    return found


def _channels(roles: Sequence[Role], about: About) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for role in roles:
        for pattern in role.listens:
            channel = found.setdefault(channel_of(pattern), _channel(pattern, about.addresses))
            name = f"{role.name}.task"
            channel["messages"][name] = _reference("components", "messages", name)
        if not role.listens:
            found[f"{RESERVED}.role.{role.name}"] = _called(role, about.addresses)
    ends = [f"{role.name}.outcome" for role in roles]
    found[_OUTCOMES] = {
        "title": "How tasks ended",
        "description": "One entry per task whose publisher asked for its end; kept for 24 hours.",
        **about.addresses.outcomes(),
        "messages": {name: _reference("components", "messages", name) for name in ends},
    }
    told = found.setdefault(EVENTS, {"messages": {}, **about.addresses.topic(EVENTS)})
    told["title"] = "What happens to tasks"
    told["description"] = "Batches of CloudEvents, equal ids for the same happening."
    told["messages"][_EVENT_BATCH] = _reference("components", "messages", _EVENT_BATCH)
    return found


def _channel(pattern: str, addresses: Addresses) -> dict[str, Any]:
    return {
        "title": pattern,
        "description": "Every role that listens gets each task once; its workers compete.",
        **addresses.topic(pattern),
        "messages": {},
        "x-muster-pattern": pattern,
    }


def _called(role: Role, addresses: Addresses) -> dict[str, Any]:
    """The channel of a role that listens to no topic."""
    name = f"{role.name}.task"
    return {
        "title": role.name,
        "description": f'Reached by other roles only: ctx.call("{role.name}", payload).',
        **addresses.direct(role.name),
        "messages": {name: _reference("components", "messages", name)},
    }


def _operations(roles: Sequence[Role]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for role in roles:
        patterns = [channel_of(pattern) for pattern in role.listens] or [
            f"{RESERVED}.role.{role.name}"
        ]
        for number, channel in enumerate(patterns, 1):
            suffix = f".{number}" if len(patterns) > 1 else ""
            found[f"{role.name}.receive{suffix}"] = _receive(role, channel)
    found["events.send"] = {
        "action": "send",
        "summary": "Tell what happens to tasks.",
        "channel": _reference("channels", EVENTS),
        "messages": [_reference("channels", EVENTS, "messages", _EVENT_BATCH)],
    }
    return found


def _receive(role: Role, channel: str) -> dict[str, Any]:
    ended = f"{role.name}.outcome"
    return {
        "action": "receive",
        **({"summary": role.summary} if role.summary else {}),
        "channel": _reference("channels", channel),
        "messages": [_reference("channels", channel, "messages", f"{role.name}.task")],
        "reply": {
            "channel": _reference("channels", _OUTCOMES),
            "messages": [_reference("channels", _OUTCOMES, "messages", ended)],
        },
        "x-muster-role": {
            "name": role.name,
            "attempts": role.attempts,
            "timeout": role.timeout,
            "delivery": role.delivery,
        },
    }
