"""Runs a task in a child process of its own, so that whatever it does costs one task.

The worker keeps the bus and the lease. The child gets role, envelope and payload, and asks over
its channel for what its handler asks of `ctx`. When the run is over, or wanted no more, the
child and its whole process group are gone.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from contracts.envelope import Envelope, Priority, encode
from contracts.outcomes import Outcome, Reason, Retry
from workers.engine import limits
from workers.engine.channel import Frame, read, to_outcome
from workers.engine.crossing import described
from workers.engine.nursery import Life, Nursery
from workers.engine.run import EngineRuntime
from workers.sdk.errors import TaskFailed
from workers.sdk.role import Role

START = 60.0
"""Seconds in which a child has to have imported its role."""

GRACE = 1.0
"""Seconds a child that is not wanted any more has to clean up before it is killed."""

WATCH = 0.2
"""Seconds between two looks at the memory of a child that has a limit."""

MOST_SUSPECTS = 16
"""Children of roles that did not ask for any, in one worker: what a crash leaves behind may be
hundreds of suspects of a role that runs hundreds of tasks at once."""

_LEVELS = frozenset({"debug", "info", "warning", "error", "critical", "exception"})


class Child:
    """The child of one run, as its worker sees it. `waits` is called when the run begins to wait
    for a task of another role: it must not keep that from starting."""

    def __init__(
        self,
        life: Life,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        role: Role,
        telling: Mapping[str, Any],
    ) -> None:
        self._life = life
        self._reader, self._writer = streams
        self._role = role
        self._telling = telling
        self._answered = False
        self._asked: dict[int, asyncio.Task[None]] = {}
        self._killed_for = ""
        self.waits: Callable[[], None] = _nothing

    async def begin(self, task: Envelope, span: str = "") -> Outcome | None:
        """Tell it which task, and the `traceparent` of its span. Return when it has imported the
        role and read the payload, and waits to be told to run the handler; with the outcome when
        it comes no further than that."""
        role = self._role
        told = {
            "role": role.name,
            "file": str(role.file),
            "headers": encode(task),
            "memory_mb": role.memory_mb,
            "files": role.files,
            "telling": self._telling,
            "span": span,
        }
        self._send(Frame("run", told, task.body))
        try:
            async with asyncio.timeout(START):
                return await self._next()
        except TimeoutError:
            reason = f"role {role.name} was not imported within {START:g} s"
            return Retry(reason=reason, last=Reason.TIMEOUT)

    async def run(self, runtime: EngineRuntime) -> Outcome:
        """Let the handler begin, and serve it until it says what it comes to, or dies."""
        self._send(Frame("go"))
        watch = asyncio.create_task(self._watch_memory())
        try:
            while True:
                outcome = await self._next(runtime)
                if outcome is not None:
                    return outcome
        finally:
            for each in (watch, *self._asked.values()):
                each.cancel()
            await asyncio.gather(watch, *self._asked.values(), return_exceptions=True)

    async def end(self) -> None:
        """Nothing of it is left afterwards. One that has not answered may clean up first."""
        life = self._life
        try:
            if not (self._answered or life.ended.done()):
                self._send(Frame("cancel"))
                await asyncio.wait({life.ended}, timeout=GRACE)
        finally:
            life.kill()
            self._writer.close()

    async def _next(self, runtime: EngineRuntime | None = None) -> Outcome | None:
        """Take the next frame: the outcome if it tells one. Without `runtime` only that the
        handler begins is expected."""
        try:
            frame = await self._read()
            if frame is None:
                return await self._died()
            outcome = to_outcome(frame)
            if outcome is None and runtime is not None:
                await self._serve(frame, runtime)
        except (ValueError, KeyError, TypeError) as error:
            return Retry(reason=f"its process said what nobody understands: {error}"[:500])
        self._answered = outcome is not None
        return outcome

    async def _read(self) -> Frame | None:
        """The next frame, also of a child that is dead by now; None when there is no more. What
        it has started may hold its channel open, but not for longer than it takes to kill that."""
        reading = asyncio.ensure_future(read(self._reader))
        try:
            either: set[asyncio.Future[Any]] = {reading, self._life.ended}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                await asyncio.wait({reading}, timeout=GRACE)
            return reading.result() if reading.done() else None
        finally:
            reading.cancel()

    async def _died(self) -> Outcome:
        await asyncio.wait({self._life.ended}, timeout=GRACE)
        if self._killed_for:
            reason = self._killed_for
        elif not self._life.ended.done():
            reason = "its process closed the connection to its worker"
        elif (code := self._life.ended.result()) < 0:
            name = signal.strsignal(-code) or "unknown"
            reason = f"its process ended with signal {-code} ({name})"
        else:
            reason = f"its process ended with exit code {code} and no answer"
        return Retry(reason=reason, last=Reason.CRASH)

    async def _serve(self, frame: Frame, runtime: EngineRuntime) -> None:
        head, number = frame.head, frame.head.get("number")
        match frame.say:
            case "progress":
                await runtime.progress(float(head["share"]), str(head["note"]), head["data"])
            case "log" if head["level"] in _LEVELS:
                fields = {str(name): value for name, value in head["fields"].items()}
                getattr(runtime.log, head["level"])(fields.pop("event", ""), **fields)
            case "publish":
                self._work(int(number or 0), self._publish(frame, runtime))
            case "call":
                self._work(int(number or 0), self._call(frame, runtime))
            case "stream":
                self._work(int(number or 0), self._stream(frame, runtime))
            case "drop" if number in self._asked:
                self._asked[number].cancel()

    def _work(self, number: int, work: Coroutine[Any, Any, Frame]) -> None:
        async def answer() -> None:
            try:
                answer = await work
            except Exception as error:  # noqa: BLE001 - raised where the handler waits
                answer = Frame("failed", described(error))
            self._send(Frame(answer.say, {**answer.head, "number": number}, answer.body))

        self._asked[number] = task = asyncio.create_task(answer())
        task.add_done_callback(lambda _: self._asked.pop(number, None))

    async def _publish(self, frame: Frame, runtime: EngineRuntime) -> Frame:
        head = frame.head
        priority = Priority(head["priority"]) if head["priority"] else None
        delay = float(head["delay"])
        call, topic = head["call"], head["topic"]
        with runtime.below(head["span"]):
            task = await runtime.publish_body(call, topic, frame.body, priority, delay)
        return Frame("answer", {"id": task})

    async def _stream(self, frame: Frame, runtime: EngineRuntime) -> Frame:
        await runtime.stream_body(frame.body)
        return Frame("answer")

    async def _call(self, frame: Frame, runtime: EngineRuntime) -> Frame:
        head = frame.head
        self.waits()
        try:
            with runtime.below(head["span"]):
                result = await runtime.call_body(
                    head["call"], head["role"], frame.body, head["deadline"]
                )
        except TaskFailed as error:
            result = error.result
        return Frame("answer", body=result.encode())

    async def _watch_memory(self) -> None:
        most = self._role.memory_mb
        while most is not None:
            await asyncio.sleep(WATCH)
            used = await asyncio.to_thread(limits.resident, self._life.born.result())
            if used > most * limits.MB:
                held = f"{used // limits.MB} MB with all it has started"
                limit = f"more than the {most} MB of role {self._role.name}"
                self._killed_for = f"it held {held}, {limit}"
                self._life.kill()
                return

    def _send(self, frame: Frame) -> None:
        with suppress(OSError, RuntimeError):  # one that is gone hears nothing
            self._writer.write(frame.encode())


def _nothing() -> None:
    return


class Isolation:
    """Gives runs a child process each. For one event loop. `telling`: how they write lines and
    spans; see `workers.telemetry.passing`."""

    def __init__(self, telling: Callable[[], Mapping[str, Any]] = dict) -> None:
        self._telling = telling
        self._nursery = Nursery()
        self._suspects = asyncio.Semaphore(MOST_SUSPECTS)

    async def warm(self) -> None:
        """Have the first child start as soon as the others."""
        await self._nursery.warm()

    @asynccontextmanager
    async def child(self, role: Role) -> AsyncIterator[Child]:
        """A child for one task of `role`; gone when the block is left. Raises `NoProcess`.

        Of roles that run their tasks in the worker unless they are suspect there are only so many
        at once; one more waits until another ends, or waits for a task of its own.
        """
        async with AsyncExitStack() as stack:
            release = _nothing
            if role.isolation is None:
                await self._suspects.acquire()
                release = _once(self._suspects.release)
                stack.callback(release)
            life = await self._nursery.hatch()
            streams = await asyncio.open_connection(sock=life.channel)
            child = Child(life, streams, role, self._telling())
            child.waits = release
            stack.push_async_callback(child.end)
            yield child

    async def close(self) -> None:
        """Kill every child."""
        await self._nursery.close()


def _once(call: Callable[[], None]) -> Callable[[], None]:
    """`call`, the first time; nothing afterwards."""
    left = [call]
    return lambda: left.pop()() if left else None
