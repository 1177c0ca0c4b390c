"""The child's side: runs one task of one role, then ends. Everything it needs it is told.

What its handler asks of `ctx` goes to the worker, which holds the bus and the lease. A thread
reads what the worker says, so that a handler which blocks the event loop still sees `cancelled`,
and so that the end of the worker ends this process and all it has started.
"""

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import structlog
from pydantic_core import to_json

from contracts.envelope import STREAM, Envelope, Priority, decode
from contracts.outcomes import Outcome, Reason, Reject, Retry
from contracts.results import Result, decode_result
from workers.engine import limits, steps
from workers.engine.calling import Caller
from workers.engine.channel import Frame, from_outcome, receive
from workers.engine.crossing import rebuilt
from workers.engine.opening import Resources
from workers.engine.streaming import body_of
from workers.sdk.context import Logger
from workers.sdk.discovery import discover, pick
from workers.sdk.errors import ResourceFailed, RoleError, UnknownRole, succeeded
from workers.sdk.role import Role
from workers.telemetry import passing
from workers.telemetry.threads import ContextThreads


def main(channel: socket.socket) -> NoReturn:
    """Do what the first frame says, then exit; nothing runs after that."""
    first = receive(channel)
    if first is not None:
        asyncio.run(_main(channel, first))
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


async def _main(channel: socket.socket, first: Frame) -> None:
    task = decode(first.head["headers"], first.body)
    passing.begin(first.head["telling"], task, first.head["role"], first.head["span"])
    asyncio.get_running_loop().set_default_executor(ContextThreads())
    remote = RemoteRuntime(channel, task)
    run = asyncio.create_task(_run(remote, first.head))
    _listen(channel, remote, run)
    await asyncio.wait([run])
    if not run.cancelled():
        sys.stdout.flush()
        remote.send(from_outcome(run.result()))


async def _run(remote: "RemoteRuntime", told: Mapping[str, Any]) -> Outcome:
    memory = told["memory_mb"]
    try:
        if memory is not None:
            limits.limit_memory(memory)
        (role,) = pick(discover([Path(told["file"])]), [told["role"]])
        return await _run_role(remote, role, told)
    except (RoleError, UnknownRole, ResourceFailed) as error:
        return Retry(reason=str(error), error=steps.traced(error))
    except MemoryError as error:
        limit = f"than the {memory} MB of role {told['role']}"
        reason = f"it needed more {limit if memory is not None else 'memory than there is'}"
        return Retry(reason=reason, last=Reason.CRASH, error=steps.traced(error))


async def _run_role(remote: "RemoteRuntime", role: Role, told: Mapping[str, Any]) -> Outcome:
    """What the handler comes to; the resources are there for this one task."""
    resources = Resources()
    try:
        payload = steps.validate(role, remote.task)
        if isinstance(payload, Reject):
            return payload
        await resources.open([role])
        if told["files"] is not None:
            limits.limit_files(told["files"])
        remote.send(Frame("ready"))
        await remote.told_to_go()
        flush = passing.enter(told["telling"], told["span"])
        try:
            return await _handle(Caller(role, partial(resources.of, role)), payload, remote)
        finally:
            flush()
    except (MemoryError, ResourceFailed, asyncio.CancelledError):
        raise
    except BaseException as error:  # noqa: BLE001 - whatever a handler or a payload's checks raise
        return steps.from_error(error, role)
    finally:
        await resources.close()


async def _handle(caller: Caller, payload: Any, remote: "RemoteRuntime") -> Outcome:
    try:
        value = await caller.call(payload, remote.task, remote, _left_to_the_worker)
        return steps.from_value(caller.role, value)
    except asyncio.CancelledError as error:
        if remote.cancelled:
            raise
        return steps.from_error(error, caller.role)


def _left_to_the_worker() -> None:
    """It kills this process."""


def _listen(channel: socket.socket, remote: "RemoteRuntime", run: asyncio.Task[Outcome]) -> None:
    loop = asyncio.get_running_loop()

    def listen() -> None:
        while (frame := receive(channel)) is not None:
            if frame.say == "cancel":
                remote.stopped = True
                loop.call_soon_threadsafe(run.cancel)
            elif frame.say == "go":
                loop.call_soon_threadsafe(remote.go.set)
            else:
                loop.call_soon_threadsafe(remote.hear, frame)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=listen, name="worker", daemon=True).start()


class RemoteRuntime:
    """What `ctx` can do, asked of the worker. Implements `workers.sdk.context.Runtime`."""

    def __init__(self, channel: socket.socket, task: Envelope) -> None:
        self.stopped = False
        self.go = asyncio.Event()
        self._channel = channel
        self.task = task
        self._sending = threading.Lock()
        self._answers: dict[int, asyncio.Future[Frame]] = {}
        self._numbers = count(1)
        self._log: Logger | None = None

    @property
    def log(self) -> Logger:
        """Its lines are written by the worker, which knows task, role and attempt."""
        if self._log is None:
            processors: list[Any] = [structlog.processors.format_exc_info, self._tell]
            bare = structlog.make_filtering_bound_logger(0)
            self._log = structlog.wrap_logger(None, processors=processors, wrapper_class=bare)
        return self._log

    @property
    def cancelled(self) -> bool:
        """Whether the worker said so, or nobody has time to wait for the result."""
        deadline = self.task.deadline
        return self.stopped or (deadline is not None and deadline <= time.time())

    async def told_to_go(self) -> None:
        """Return when the worker has noted that the handler begins."""
        await self.go.wait()

    async def progress(self, share: float, note: str, data: Mapping[str, Any]) -> None:
        """Told, and forgotten here."""
        told = {"share": share, "note": note, "data": steps.tellable(data)}
        self.send(Frame("progress", told))

    async def stream(self, part: Any) -> None:
        """The worker sends it; returns when that is on its way."""
        if STREAM in self.task.extra:
            await self._ask("stream", {}, body_of(part))

    async def publish(
        self, number: int, topic: str, payload: Any, priority: Priority | None, delay: float
    ) -> str:
        """The worker publishes it; returns when that is safe."""
        told = {"call": number, "topic": topic, "priority": priority, "delay": delay}
        return str((await self._ask("publish", told, to_json(payload))).head["id"])

    async def call(self, number: int, role: str, payload: Any, deadline: float | None) -> Result:
        """The worker calls and waits."""
        told = {"call": number, "role": role, "deadline": deadline}
        return succeeded(decode_result((await self._ask("call", told, to_json(payload))).body))

    def send(self, frame: Frame) -> None:
        """Tell the worker; one that is gone takes this process with it anyway."""
        data = frame.encode()
        with self._sending:
            try:
                self._channel.sendall(data)
            except OSError:
                os.killpg(0, signal.SIGKILL)

    def hear(self, frame: Frame) -> None:
        """An answer has come."""
        future = self._answers.pop(int(frame.head["number"]), None)
        if future is None or future.done():
            return
        if frame.say == "failed":
            future.set_exception(rebuilt(frame.head))
        else:
            future.set_result(frame)

    async def _ask(self, what: str, told: Mapping[str, Any], body: bytes) -> Frame:
        number = next(self._numbers)
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        self.send(Frame(what, {**told, "number": number, "span": passing.current()}, body))
        try:
            return await future
        except asyncio.CancelledError:
            self._answers.pop(number, None)
            self.send(Frame("drop", {"number": number}))
            raise

    def _tell(self, _: Any, level: str, fields: Mapping[str, Any]) -> NoReturn:
        self.send(Frame("log", {"level": level, "fields": fields}))
        raise structlog.DropEvent
