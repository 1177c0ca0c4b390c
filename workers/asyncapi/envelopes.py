"""The schemas of what muster adds: the headers of a task, the end of one, a batch of events.

They follow `contracts.envelope`, `contracts.results` and `contracts.events`; tests hold real
messages against them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from contracts.envelope import MAX_ID, VERSION, Priority
from contracts.events import Kind
from contracts.outcomes import Reason
from contracts.results import Status

_TEXT = {"type": "string"}


def _said(what: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": what, **more}


TASK_HEADERS: Mapping[str, Any] = MappingProxyType(
    {
        "type": "object",
        "description": "Values outside printable ASCII are percent-encoded.",
        "required": ["ce-specversion", "ce-id", "ce-type", "ce-source", "ce-time"],
        "properties": {
            "ce-specversion": _said("CloudEvents.", const="1.0"),
            "ce-id": _said("The task: unique, or the same for the same task.", maxLength=MAX_ID),
            "ce-type": _said("The topic."),
            "ce-source": _said("Who published it."),
            "ce-time": _said("When that was.", format="date-time"),
            "content-type": _said("Of the body.", default="application/json"),
            "muster-version": _said("Of the envelope.", default=str(VERSION)),
            "muster-tenant": _said("Whose task it is.", default="default"),
            "muster-priority": _said(
                "How soon it wants to start.", enum=[*Priority], default=Priority.NORMAL.value
            ),
            "muster-deadline": _said("Unwanted after: epoch seconds.", pattern=r"^[0-9.]+$"),
            "muster-budget": _said("What it may cost, in micro-dollars.", pattern="^[0-9]+$"),
            "muster-correlation": _said("What it belongs to."),
            "muster-reply": _said("Under which name its end is kept; without it, it is not."),
            "muster-subjects": _said("Whom it is about, percent-encoded, between commas."),
        },
        "additionalProperties": True,
    }
)


def result_schema(role: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """The end of a task of `role`, whose result is as the schema `value` says."""
    return {
        "type": "object",
        "required": ["id", "status", "role", "worker", "fence", "attempt", "finished"],
        "properties": {
            "id": _said("The task."),
            "status": {"type": "string", "enum": [*Status]},
            "role": {"type": "string", "const": role},
            "worker": _TEXT,
            "fence": {"type": "integer", "description": "Of rival ends the higher one counts."},
            "attempt": {"type": "integer"},
            "finished": {"type": "number", "description": "UTC epoch seconds."},
            "value": {
                "description": "The result of a task that succeeded, else null.",
                "anyOf": [value, {"type": "null"}],
            },
            "reason": {
                "description": "Why it is a dead letter.",
                "enum": [*Reason, None],
            },
            "error": _TEXT,
        },
    }


EVENTS_SCHEMA: Mapping[str, Any] = MappingProxyType(
    {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["specversion", "id", "type", "source", "data"],
            "properties": {
                "specversion": {"type": "string", "const": "1.0"},
                "id": _said("Equal for the same happening."),
                "type": {
                    "type": "string",
                    "description": "What happened; muster.tasks.published tells of several tasks.",
                    "examples": [f"muster.task.{kind}" for kind in Kind],
                },
                "source": _TEXT,
                "subject": _said("The task."),
                "time": {"type": "string", "format": "date-time"},
                "data": {"type": "object"},
            },
        },
    }
)
