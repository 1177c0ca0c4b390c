"""One run of one task in this process, from hand-over to settle."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import structlog
from pydantic_core import to_json

from bus.backend import Delivery
from bus.bus import Bus
from bus.claims import Claim
from bus.deadletters import cut
from bus.errors import BusError, Unroutable
from bus.outcomes import Progress, Waiters
from contracts.clock import Clock
from contracts.envelope import REPLAYED, STREAM, Envelope, Priority
from contracts.events import Event, Kind
from contracts.ids import child_id
from contracts.outcomes import Cancelled
from contracts.results import Result
from contracts.topics import check_group, publishable
from workers.engine.events import event
from workers.engine.identity import Identity
from workers.engine.published import Published
from workers.engine.slots import Place
from workers.engine.steps import MAX_NOTE, tellable
from workers.engine.streaming import Sender, body_of
from workers.sdk.context import Logger
from workers.sdk.errors import UnknownRole, succeeded
from workers.sdk.role import Role
from workers.telemetry.tracing import CARRIED, RunSpan, Tracing

_HANDED_ON = CARRIED | {REPLAYED}
"""Headers that go on to what a task calls and publishes."""

REPORT_EVERY = 0.2
"""Seconds between two reports of progress to whoever waits; the latest always gets out."""


@dataclass(slots=True, eq=False)
class Run:
    """The state of a run. `lost`: its delivery is no longer ours, so its result is not wanted.
    `returned`: it is being given back because this worker stops. `waiting`: its limits do not let
    it begin yet. `lend`: gives back, for a block, what it holds of its limits. `begun`: its runner
    has taken its first step; `called`: its handler was called; `asked`: it has called other roles.
    `stop`: its task was cancelled; `abandoned`: it ended as that although its handler goes on.
    `stuck`: its plain handler did not stop in time. `claim`: what its end replaces. `span`: of its
    trace, until its task is settled; `counted`: its start is. `keeps` takes what it publishes."""

    delivery: Delivery
    place: Place
    runner: asyncio.Task[None] | None = None
    begun: bool = False
    called: bool = False
    task: Envelope | None = None
    lost: bool = False
    returned: bool = False
    waiting: bool = False
    lend: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
    asked: bool = False
    stop: Cancelled | None = None
    abandoned: bool = False
    stuck: bool = False
    claim: Claim | None = None
    started: float = 0.0
    span: RunSpan | None = None
    counted: bool = False
    keeps: Callable[[Envelope, float], None] | None = None

    @property
    def wanted(self) -> bool:
        """Whether this process is to run it, or go on running it."""
        return not (self.lost or self.returned or self.stop)

    def cancel(self) -> None:
        """Stop the handler, if it runs. A runner that has not begun looks at `wanted`: a task
        cancelled before its first step would not even clean up."""
        if self.runner is not None and self.begun:
            self.runner.cancel()


class EngineRuntime:
    """What `ctx` can do, done over the bus. Implements `workers.sdk.context.Runtime`. `streams`:
    whether the caller wants parts of the result."""

    def __init__(
        self,
        run: Run,
        task: Envelope,
        role: Role,
        bus: Bus,
        *,
        who: Identity,
        clock: Clock,
        tracing: Tracing,
    ) -> None:
        self._run = run
        self._task = task
        self._role = role
        self._bus = bus
        self._who = who
        self._clock = clock
        self._tracing = tracing
        self._log: Logger | None = None
        self._waiters: Waiters | None = None
        self._told = 0
        self._latest: Progress | None = None
        self._reporter: asyncio.Task[None] | None = None
        self._published: Published | None = None
        self.streams = task.reply is not None and STREAM in task.extra
        self._sender: Sender | None = None

    @property
    def log(self) -> Logger:
        """Bound once asked for: most runs log nothing."""
        if self._log is None:
            self._log = structlog.get_logger("muster.role").bind(
                task=self._task.id, role=self._role.name, attempt=self._task.attempt + 1
            )
        return self._log

    @property
    def cancelled(self) -> bool:
        """Whether the result is not wanted any more, or nobody has time to wait for it."""
        deadline = self._task.deadline
        late = deadline is not None and deadline <= self._clock.wall()
        return late or not self._run.wanted

    async def progress(self, share: float, note: str, data: Mapping[str, Any]) -> None:
        """An event always; an entry for whoever waits, not too often. Neither can fail."""
        self._told += 1
        note = cut(note, MAX_NOTE)
        told = {**tellable(data), "share": share, "note": note}
        self._bus.tell(self._event(Kind.PROGRESS, told))
        if self._task.reply is None:
            return
        self._latest = Progress(self._task.id, share, note)
        if self._reporter is None or self._reporter.done():
            self._reporter = asyncio.create_task(self._report_for(self._task.reply))

    async def stream(self, part: Any) -> None:
        """Send a part to the caller, if that asked for parts."""
        if self.streams:
            await self.stream_body(body_of(part))

    async def stream_body(self, body: bytes) -> None:
        """As `stream`, for a part that is JSON already."""
        if self.streams:
            if self._sender is None:
                self._sender = Sender(self._bus.parts, self._task, self._role.name)
            await self._sender.send(body)

    async def flush(self) -> None:
        """Return when every part is safe. Raises `Unreachable`."""
        if self._sender is not None:
            await self._sender.flush()

    async def publish(
        self, number: int, topic: str, payload: Any, priority: Priority | None, delay: float
    ) -> str:
        """Publish a follow-up under an id that a repeated run would give it again."""
        return await self.publish_body(number, topic, to_json(payload), priority, delay)

    async def call(self, number: int, role: str, payload: Any, deadline: float | None) -> Result:
        """Find the child's outcome, or have it run; this run's place is free meanwhile."""
        return await self.call_body(number, role, to_json(payload), deadline)

    async def publish_body(
        self, number: int, topic: str, body: bytes, priority: Priority | None, delay: float
    ) -> str:
        """As `publish`, for a payload that is JSON already: its bytes make the id."""
        name = f"topic {publishable(topic)}"
        task = self._child(child_id(self._task.id, number, name, body), topic, body)
        if priority is not None:
            task = replace(task, priority=priority)
        due = self._clock.wall() + delay if delay > 0 else 0.0
        with self._tracing.publish([task]) as (traced,):
            if self._run.keeps is not None:
                self._run.keeps(traced, due)
            else:
                await self._publishing().send(traced, due=due)
        return task.id

    async def call_body(
        self, number: int, role: str, body: bytes, deadline: float | None
    ) -> Result:
        """As `call`, for a payload that is JSON already."""
        child = child_id(self._task.id, number, check_group(role), body)
        found = await self._bus.outcomes.get(self._task.id, child)
        if found is None:
            found = await self._ask(child, role, body, deadline)
        return succeeded(found)

    def below(self, span: str) -> AbstractContextManager[object]:
        """What is published in the block hangs below this span of a child process."""
        return self._tracing.below(span)

    @property
    def used(self) -> bool:
        """Whether there is something to `close`: most runs use nothing of the bus."""
        sends = self._sender is not None or self._published is not None
        return sends or self._waiters is not None or self._reporter is not None

    async def close(self, *, done: bool) -> None:
        """Stop waiting for children; report what was not reported yet. `done`: no run follows."""
        if self._sender is not None:
            await self._sender.close()
        if self._published is not None:
            await self._published.close(done=done)
        if self._waiters is not None:
            await self._waiters.close()
        if self._reporter is not None:
            self._reporter.cancel()
            await asyncio.wait([self._reporter])
            if self._run.wanted and self._task.reply is not None:
                await self._report(self._task.reply)

    def _publishing(self) -> Published:
        """Made once asked for: most runs publish nothing."""
        if self._published is None:
            again = bool(self._run.delivery.earlier or self._task.copy)
            self._published = Published(self._bus, self._clock, again=again)
        return self._published

    async def _report_for(self, reply: str) -> None:
        while self._latest is not None:
            await self._report(reply)
            await self._clock.sleep(REPORT_EVERY)

    async def _report(self, reply: str) -> None:
        latest = self._latest
        if latest is None:
            return
        try:
            await self._bus.outcomes.report(reply, latest)
        except BusError as error:
            self.log.debug("could not report progress", error=str(error))
        if self._latest is latest:
            self._latest = None

    async def _ask(self, child: str, role: str, body: bytes, deadline: float | None) -> Result:
        task = replace(self._child(child, f"call.{role}", body), reply=self._task.id)
        if deadline is not None:
            task = replace(task, deadline=deadline)
        self._run.asked = True
        with self._tracing.publish([task], call=role) as (traced,):
            return await self._answer(traced, role)

    async def _answer(self, task: Envelope, role: str) -> Result:
        try:
            await self._publishing().send(task, group=role)
        except Unroutable as error:
            raise UnknownRole(
                f"no role {role!r} is bound",
                details=f"called by task {self._task.id} of role {self._role.name}",
                actions=(f"start it: `muster work {role}`",),
            ) from error
        if self._waiters is None:
            self._waiters = Waiters(self._bus.outcomes, self._task.id, self._clock)
        async with self._run.lend(), self._run.place.lent():
            return await self._waiters.wait(task.id)

    def _child(self, child: str, topic: str, body: bytes) -> Envelope:
        """A task that inherits tenant, priority, deadline, budget, subjects, and the replay from
        which on stops count. A run that was cancelled has no more."""
        if self._run.stop is not None:
            raise asyncio.CancelledError(self._run.stop.reason)
        return Envelope(
            id=child,
            topic=topic,
            source=f"/muster/{self._role.name}/{self._who.name}",
            time=self._clock.wall(),
            body=body,
            tenant=self._task.tenant,
            priority=self._task.priority,
            deadline=self._task.deadline,
            budget=self._task.budget,
            correlation=self._task.correlation or self._task.id,
            subjects=self._task.subjects,
            extra={name: value for name, value in self._task.extra.items() if name in _HANDED_ON},
        )

    def _event(self, kind: Kind, data: Mapping[str, Any]) -> Event:
        now = self._clock.wall()
        who = (self._task, self._role, self._who)
        return event(*who, kind=kind, at=now, number=self._told, data=data)
