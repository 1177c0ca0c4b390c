"""Publishing tasks and getting their results."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from functools import partial
from types import TracebackType
from typing import Any, Self

from bus.bus import Bus
from bus.outcomes import Progress, Waiters
from bus.parts import Part
from contracts.clock import Clock
from contracts.envelope import DEFAULT_TENANT, Priority
from contracts.errors import InvalidValue
from contracts.ids import new_id
from contracts.results import Result
from workers.fleet.options import DAY, Options, hold_of, maker, start_of
from workers.fleet.steering import Steering
from workers.fleet.streaming import parts_of
from workers.sdk.errors import NoResult, succeeded
from workers.telemetry.borrowing import Borrowed
from workers.telemetry.tracing import Tracing


class Task:
    """A published task. `reply` is what its outcome is kept under, `repeated` whether it was
    found published before, under the same key, `streams` whether parts of its result are sent."""

    def __init__(
        self,
        task_id: str,
        topic: str,
        fleet: "FleetClient",
        *,
        reply: str | None,
        repeated: bool = False,
        streams: bool = False,
    ) -> None:
        self.id = task_id
        self.topic = topic
        self.reply = reply
        self.repeated = repeated
        self.streams = streams
        self._fleet = fleet

    async def outcome(self, timeout: float | None = None) -> Result:
        """How the task ended, success or not. Raises `NoResult` after `timeout` seconds; the
        task goes on, and asking again is fine."""
        if self.reply is None:
            raise InvalidValue(
                f"nobody keeps the result of task {self.id}",
                details="it was published with reply=False",
                actions=("publish with reply=True",),
            )
        return await self._fleet.wait_for(self.id, timeout, reply=self.reply)

    async def result(self, timeout: float | None = None) -> Any:
        """The task's result as JSON values. Raises `TaskFailed` if it ended as a dead letter,
        `TaskCancelled` if somebody cancelled it, `NoResult` after `timeout` seconds."""
        return succeeded(await self.outcome(timeout)).value

    def stream(self) -> AsyncGenerator[Part]:
        """The parts of the result as its handler sends them with `ctx.stream`, in order; ends with
        the task, however that ends: ask `result` then.

        A `Part` that `restarts` says that another run has taken the place of the one before, whose
        parts are void: what is read after the last of them is what the run that ended has sent.
        Iterating again begins with the first part, for an hour. Raises `InvalidValue` for a task
        that was published without `stream=True`.
        """
        if self.reply is None or not self.streams:
            raise InvalidValue(
                f"nobody sends parts of task {self.id}",
                details="it was published without stream=True",
                actions=("publish with stream=True",),
            )
        return self._fleet.parts(self.id, self.reply)

    async def cancel(self, reason: str = "") -> None:
        """Stop it, queued, delayed or running; see `FleetClient.cancel`. One that has ended
        stays as it is."""
        await self._fleet.cancel(self.id, reason=reason)

    def __repr__(self) -> str:
        return f"<Task {self.id} on {self.topic}>"


class FleetClient(Steering):
    """A connection to a fleet, to publish and to steer. Use as `async with`; safe for concurrent
    use."""

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        *,
        source: str = "/muster/client",
        tracing: Tracing | None = None,
    ) -> None:
        super().__init__(bus, clock)
        self._tracing = tracing or Borrowed("muster")
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
        key_for: float = DAY,
        budget: int | None = None,
        tenant: str = DEFAULT_TENANT,
        subjects: tuple[str, ...] = (),
        correlation: str | None = None,
        reply: bool = True,
        stream: bool = False,
    ) -> Task:
        """Publish `payload` (a pydantic model, or anything JSON can hold) to `topic`.

        Returns when the broker has it safely; see `Options`. `deadline` is seconds from now after
        which nobody wants it done; `delay` and `at` put it off, by 366 days at most. Publishing a
        `key` again, whatever the payload, adds nothing and returns the first task, `repeated`.
        Raises `InvalidTopic`, `InvalidValue`, `InvalidPayload`, `Unroutable` when no role listens,
        `TooLarge`; `QuotaExceeded`, and after 30 s of trying `Full` or `Unreachable`: retryable."""
        options = Options(
            priority=priority,
            delay=delay,
            at=at,
            deadline=deadline,
            key=key,
            key_for=key_for,
            budget=budget,
            tenant=tenant,
            subjects=subjects,
            correlation=correlation,
            reply=reply,
            stream=stream,
        )
        return (await self.publish_many([(topic, payload)], options))[0]

    async def publish_many(
        self, tasks: Iterable[tuple[str, Any]], options: Options | None = None
    ) -> list[Task]:
        """Publish several in one call: all are accepted, or an error says so and repeating the
        call with the same keys is safe. `options` hold for each."""
        chosen = options or Options()
        now = self._clock.wall()
        due = start_of(chosen, now)
        made = maker(chosen, now=now, source=self._source, reply=self._reply)
        envelopes = [made(topic, payload) for topic, payload in tasks]
        if len({envelope.id for envelope in envelopes}) < len(envelopes):
            raise InvalidValue(
                f"several tasks on one topic cannot have the key {chosen.key!r}",
                details="equal keys name one task: the others would be lost",
                actions=("publish them one by one, each with a key of its own",),
            )
        hold = hold_of(chosen) if chosen.key else 0.0
        async with self.bus.quotas.counted(envelopes) as unsent:
            with self._tracing.publish(envelopes) as traced:
                held = await self.bus.publish(traced, due=due, hold=hold)
            unsent.update(held)
        return [
            Task(e.id, e.topic, self, reply=e.reply, repeated=e.id in held, streams=chosen.stream)
            for e in envelopes
        ]

    async def wait_for(
        self, task: str, timeout: float | None, *, reply: str | None = None
    ) -> Result:
        """The outcome of a task kept under `reply` (default: what this client published without
        a key); see `Task.outcome`."""
        try:
            async with asyncio.timeout(timeout):
                if reply is None or reply == self._reply:
                    return await self._waiters.wait(task)
                return await self._wait_apart(task, reply)
        except TimeoutError as error:
            raise NoResult(
                f"task {task} has not ended within {timeout:g} s",
                details="it goes on; its result is kept for 24 hours",
                actions=("wait longer", "see who works: `muster ps`"),
            ) from error

    async def progress(self, reply: str | None = None) -> AsyncGenerator[Progress]:
        """The progress of all tasks this client published without a key, or of what is kept under
        `reply`, as it is told; iterate in a task."""
        async for progress in self.bus.outcomes.watch_progress(reply or self._reply):
            yield progress

    def parts(self, task: str, reply: str) -> AsyncGenerator[Part]:
        """The parts of the result of a task kept under `reply`; see `Task.stream`."""
        ended = partial(self.wait_for, task, None, reply=reply)
        return parts_of(self.bus.parts, reply, task, ended, self._clock)

    async def _wait_apart(self, task: str, reply: str) -> Result:
        waiters = Waiters(self.bus.outcomes, reply, self._clock)
        try:
            return await waiters.wait(task)
        finally:
            await waiters.close()

    async def close(self) -> None:
        """Let go of the broker; send the spans that are left, which may take three seconds."""
        await self._waiters.close()
        await self.bus.close()
        await self._tracing.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
