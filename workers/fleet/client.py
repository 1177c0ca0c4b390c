"""Publishing tasks and getting their results."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from math import inf
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json

from bus.bus import Bus
from bus.outcomes import Progress, Waiters
from contracts.clock import Clock
from contracts.envelope import Envelope, Priority
from contracts.errors import InvalidValue
from contracts.ids import key_id, new_id
from contracts.results import Result, Status
from contracts.topics import near, publishable
from workers.sdk.errors import InvalidPayload, NoResult, TaskFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a task is published. `delay` in seconds from now, `at` and `deadline` in UTC epoch
    seconds, `budget` in micro-dollars. `reply`: keep the outcome for `Task.result` (24 h)."""

    priority: Priority | str = Priority.NORMAL
    delay: float = 0.0
    at: float | None = None
    deadline: float | None = None
    key: str | None = None
    budget: int | None = None
    tenant: str = "default"
    subjects: tuple[str, ...] = ()
    correlation: str | None = None
    reply: bool = True


class Task:
    """A published task."""

    def __init__(self, task_id: str, topic: str, fleet: "FleetClient", *, asked: bool) -> None:
        self.id = task_id
        self.topic = topic
        self._fleet = fleet
        self._asked = asked

    async def outcome(self, timeout: float | None = None) -> Result:
        """How the task ended, success or not. Raises `NoResult` after `timeout` seconds; the
        task goes on, and asking again is fine."""
        if not self._asked:
            raise InvalidValue(
                f"nobody keeps the result of task {self.id}",
                details="it was published with reply=False",
                actions=("publish with reply=True",),
            )
        return await self._fleet.wait_for(self.id, timeout)

    async def result(self, timeout: float | None = None) -> Any:
        """The task's result as JSON values. Raises `TaskFailed` if it ended as a dead letter,
        `NoResult` after `timeout` seconds."""
        result = await self.outcome(timeout)
        if result.status is Status.FAILED:
            raise TaskFailed(result)
        return result.value

    def __repr__(self) -> str:
        return f"<Task {self.id} on {self.topic}>"


class FleetClient:
    """A connection to a fleet for publishing. Use as `async with`; safe for concurrent use."""

    def __init__(self, bus: Bus, clock: Clock, *, source: str = "/muster/client") -> None:
        self.bus = bus
        self._clock = clock
        self._source = source
        self._reply = new_id(clock.wall())
        self._waiters = Waiters(bus.outcomes, self._reply, clock)

    async def publish(
        self,
        topic: str,
        payload: Any,
        *,
        priority: Priority | str = Priority.NORMAL,
        delay: float = 0.0,
        at: float | None = None,
        deadline: float | None = None,
        key: str | None = None,
        budget: int | None = None,
        tenant: str = "default",
        subjects: tuple[str, ...] = (),
        correlation: str | None = None,
        reply: bool = True,
    ) -> Task:
        """Publish `payload` (a pydantic model, or anything JSON can hold) to `topic`.

        Returns when the broker has it safely. `deadline` is seconds from now after which nobody
        wants it done; `delay` and `at` put off its start. Equal `key`s name one task: publishing
        it again within two minutes adds nothing. `reply=False` saves the outcome's entry.

        Raises `InvalidTopic`, `InvalidValue`, `InvalidPayload`; `Unroutable` when no role
        listens; `TooLarge`; after 30 s of trying `Full` or `Unreachable`, which are retryable.
        """
        options = Options(
            priority=priority,
            delay=delay,
            at=at,
            deadline=deadline,
            key=key,
            budget=budget,
            tenant=tenant,
            subjects=subjects,
            correlation=correlation,
            reply=reply,
        )
        return (await self.publish_many([(topic, payload)], options))[0]

    async def publish_many(
        self, tasks: Iterable[tuple[str, Any]], options: Options | None = None
    ) -> list[Task]:
        """Publish several in one call: all are accepted, or an error says so and repeating the
        call with the same keys is safe. `options` hold for each."""
        chosen = options or Options()
        now = self._clock.wall()
        due = self._due(chosen, now)
        envelopes = [self._envelope(topic, payload, chosen, now) for topic, payload in tasks]
        if len({envelope.id for envelope in envelopes}) < len(envelopes):
            raise InvalidValue(
                f"several tasks on one topic cannot have the key {chosen.key!r}",
                details="equal keys name one task: the others would be lost",
                actions=("publish them one by one, each with a key of its own",),
            )
        await self.bus.publish(envelopes, due=due)
        return [Task(e.id, e.topic, self, asked=chosen.reply) for e in envelopes]

    async def wait_for(self, task: str, timeout: float | None) -> Result:
        """The outcome of a task this client published; see `Task.outcome`."""
        try:
            async with asyncio.timeout(timeout):
                return await self._waiters.wait(task)
        except TimeoutError as error:
            raise NoResult(
                f"task {task} has not ended within {timeout:g} s",
                details="it goes on; its result is kept for 24 hours",
                actions=("wait longer", "see who works: `muster ps`"),
            ) from error

    async def progress(self) -> AsyncIterator[Progress]:
        """The progress of all tasks this client published, as it is told; iterate in a task."""
        async for progress in self.bus.outcomes.watch_progress(self._reply):
            yield progress

    async def close(self) -> None:
        """Let go of the broker."""
        await self._waiters.close()
        await self.bus.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def _due(self, options: Options, now: float) -> float:
        if not 0 <= options.delay < inf or not 0 <= (options.at or 0) < inf:
            raise InvalidValue(
                f"a delay of {options.delay:g} s, or until {options.at}, is no time to wait for",
                details="a delay counts from now on, `at` from 1970 on",
                actions=("give 0 or more seconds",),
            )
        return options.at if options.at is not None else now + options.delay if options.delay else 0

    def _envelope(self, topic: str, payload: Any, options: Options, now: float) -> Envelope:
        publishable(topic)
        return Envelope(
            id=key_id(options.tenant, topic, options.key) if options.key else new_id(now),
            topic=topic,
            source=self._source,
            time=now,
            body=_body(payload),
            tenant=_named("tenant", options.tenant),
            priority=_priority(options.priority),
            deadline=_deadline(options.deadline, now),
            budget=_budget(options.budget),
            subjects=tuple(_named("subject", subject) for subject in options.subjects),
            correlation=options.correlation and _named("correlation", options.correlation),
            reply=self._reply if options.reply else None,
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
