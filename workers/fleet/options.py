"""How a task is published: every option checked, and the envelope made of them."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any, TypedDict

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json

from contracts.envelope import DEFAULT_TENANT, STREAM, Envelope, Priority
from contracts.errors import InvalidValue
from contracts.ids import key_id, new_id
from contracts.topics import near, publishable
from workers.sdk.errors import InvalidPayload

DAY = 86_400.0
"""Seconds a key holds by default: as long as outcomes are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a task is published. `delay` in seconds from now, `at` and `deadline` in UTC epoch
    seconds, `budget` in micro-dollars. `reply`: keep the outcome for `Task.result` (24 h), as is
    always done for a task with a `key`, which holds for `key_for` seconds. `stream`: have parts of
    the result sent as well, for `Task.stream`."""

    priority: Priority | str = Priority.NORMAL
    delay: float = 0.0
    at: float | None = None
    deadline: float | None = None
    key: str | None = None
    key_for: float = DAY
    budget: int | None = None
    tenant: str = DEFAULT_TENANT
    subjects: tuple[str, ...] = ()
    correlation: str | None = None
    reply: bool = True
    stream: bool = False


class Publishing(TypedDict, total=False):
    """The options of `FleetClient.publish`, for those that pass them on; `deadline` and `delay` in
    seconds from now."""

    priority: Priority | str
    delay: float
    at: float | None
    deadline: float | None
    key: str | None
    key_for: float
    budget: int | None
    tenant: str
    subjects: tuple[str, ...]
    correlation: str | None
    reply: bool
    stream: bool


def start_of(options: Options, now: float) -> float:
    """The epoch second before which the task does not start; 0 for at once."""
    if not 0 <= options.delay < inf or not 0 <= (options.at or 0) < inf:
        raise InvalidValue(
            f"a delay of {options.delay:g} s, or until {options.at}, is no time to wait for",
            details="a delay counts from now on, `at` from 1970 on",
            actions=("give 0 or more seconds",),
        )
    return options.at if options.at is not None else now + options.delay if options.delay else 0


def maker(
    options: Options, *, now: float, source: str, reply: str
) -> Callable[[str, Any], Envelope]:
    """Makes the task that a payload on a topic is; its outcome is kept under its id if it has a
    key, else under `reply` if that was asked for. The options are checked here, once for all."""
    _check(options)
    key, kept = options.key, reply if options.reply else None
    alike: dict[str, Any] = {
        "source": source,
        "time": now,
        "tenant": _named("tenant", options.tenant),
        "priority": _priority(options.priority),
        "deadline": _deadline(options.deadline, now),
        "budget": _budget(options.budget),
        "subjects": tuple(_named("subject", subject) for subject in options.subjects),
        "correlation": options.correlation and _named("correlation", options.correlation),
        "extra": {STREAM: "1"} if options.stream else {},
    }

    def made(topic: str, payload: Any) -> Envelope:
        publishable(topic)
        keyed = key_id(options.tenant, topic, key) if key is not None else None
        id_, body = keyed or new_id(now), _body(payload)
        return Envelope(id=id_, topic=topic, body=body, reply=keyed or kept, **alike)

    return made


def _check(options: Options) -> None:
    """Raise `InvalidValue` for those that do not fit each other."""
    if options.stream and not (options.reply or options.key):
        raise InvalidValue(
            "parts of a result cannot be streamed to nobody",
            details="stream=True with reply=False: nobody waits for the task",
            actions=("leave out one of them",),
        )
    if options.key == "":
        raise InvalidValue(
            "a key cannot be empty",
            details="tasks of equal keys are one task, and an empty one would name nothing",
            actions=("see that what fills it is set", "or leave the key out"),
        )


def _body(payload: Any) -> bytes:
    if isinstance(payload, BaseModel):
        return payload.model_dump_json().encode()
    try:
        return to_json(payload)
    except (PydanticSerializationError, ValueError) as error:
        raise InvalidPayload(
            "the payload is not JSON",
            details=str(error).splitlines()[0],
            actions=("send a pydantic model, or dicts, lists, text, numbers",),
        ) from error


def _named(what: str, name: str) -> str:
    if not name or len(name) > 100 or not name.isprintable():
        raise InvalidValue(
            f"{name[:40]!r} is not a {what}",
            details=f"a {what} has 1 to 100 printable characters",
            actions=(f"name the {what}, or leave it out",),
        )
    return name


def hold_of(options: Options) -> float:
    """Seconds a key holds."""
    if not 0 < options.key_for < inf:
        raise InvalidValue(
            f"a key cannot hold for {options.key_for:g} s",
            details="it holds for a number of seconds above 0",
            actions=("give the seconds within which a repetition is one",),
        )
    return options.key_for


def _budget(micro_dollars: int | None) -> int | None:
    if micro_dollars is not None and not 0 <= micro_dollars < 10**18:
        raise InvalidValue(
            f"a budget of {micro_dollars} micro-dollars cannot be spent",
            details="a budget is a whole number of micro-dollars from 0 on",
            actions=("give a budget from 0 on, or none",),
        )
    return micro_dollars


def _priority(value: Priority | str) -> Priority:
    try:
        return Priority(value)
    except ValueError as error:
        close = near(str(value), [p.value for p in Priority])
        raise InvalidValue(
            f"{value!r} is not a priority",
            details=f"did you mean {close[0]}?" if close else "it is none of high, normal, low",
            actions=("use high, normal or low",),
        ) from error


def _deadline(seconds: float | None, now: float) -> float | None:
    """The epoch second that lies `seconds` from now."""
    if seconds is None:
        return None
    if not 0 < seconds < inf:
        raise InvalidValue(
            f"a deadline {seconds:g} s from now is no time in the future",
            details="nobody would want the result",
            actions=("give a deadline in the future, in seconds from now",),
        )
    return now + seconds
