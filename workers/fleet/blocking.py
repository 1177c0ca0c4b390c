"""The fleet's client without `await`: for Django, Flask, scripts and notebooks."""

import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

from bus.deadletters import DeadLetter
from bus.outcomes import Progress
from bus.parts import Part
from bus.stops import Mark
from contracts.results import Result
from workers.fleet.client import FleetClient, Task
from workers.fleet.loop import LoopThread
from workers.fleet.options import Options, Publishing


class SyncTask:
    """A published task: what `Task` is, each method blocking."""

    def __init__(self, task: Task, loop: LoopThread, fleet: "SyncFleet") -> None:
        self.id = task.id
        self.topic = task.topic
        self.reply = task.reply
        self.repeated = task.repeated
        self.streams = task.streams
        self._task = task
        self._loop = loop
        self._fleet = fleet  # which is closed when nobody holds it

    def outcome(self, timeout: float | None = None) -> Result:
        """See `Task.outcome`."""
        return self._loop.wait(self._task.outcome(timeout))

    def result(self, timeout: float | None = None) -> Any:
        """See `Task.result`."""
        return self._loop.wait(self._task.result(timeout))

    def stream(self) -> Iterator[Part]:
        """See `Task.stream`."""
        return self._iterated(self._task.stream())

    def cancel(self, reason: str = "") -> None:
        """See `Task.cancel`."""
        self._loop.wait(self._task.cancel(reason))

    def _iterated(self, parts: AsyncGenerator[Part]) -> Iterator[Part]:
        """While it is iterated, the connection is held."""
        yield from self._loop.iterate(parts)

    def __repr__(self) -> str:
        return repr(self._task)


class SyncFleet:
    """A connection to a fleet, each method blocking; made by `Fleet.connect_sync`.

    It has an event loop in a thread of its own, so it may be used from any number of threads at
    once, with or without a loop of theirs. Use it as `with`, or `close` it; one that nobody holds
    any more, its tasks included, is closed, and so is what is left at the end of the process. A
    process that is forked needs a connection of its own: in it every call raises `Forked`.
    """

    def __init__(self, connect: Callable[[], Awaitable[FleetClient]]) -> None:
        self._loop = LoopThread("muster")
        try:
            self._fleet = self._loop.wait(_awaited(connect))
        except BaseException:
            self._loop.close(_nothing())
            raise
        self._closing = weakref.finalize(self, _close, self._loop, self._fleet)

    def publish(self, topic: str, payload: Any, **options: Unpack[Publishing]) -> SyncTask:
        """See `FleetClient.publish`, which has the same options."""
        return self._of(self._loop.wait(self._fleet.publish(topic, payload, **options)))

    def publish_many(
        self, tasks: Iterable[tuple[str, Any]], options: Options | None = None
    ) -> list[SyncTask]:
        """See `FleetClient.publish_many`."""
        found = self._loop.wait(self._fleet.publish_many(list(tasks), options))
        return [self._of(task) for task in found]

    def wait_for(self, task: str, timeout: float | None, *, reply: str | None = None) -> Result:
        """See `FleetClient.wait_for`."""
        return self._loop.wait(self._fleet.wait_for(task, timeout, reply=reply))

    def progress(self, reply: str | None = None) -> Iterator[Progress]:
        """See `FleetClient.progress`; it never ends by itself: iterate in a thread of its own."""
        return self._loop.iterate(self._fleet.progress(reply))

    def cancel(
        self,
        *tasks: str,
        role: str | None = None,
        tenant: str | None = None,
        subject: str | None = None,
        every: bool = False,
        reason: str = "",
    ) -> list[Mark]:
        """See `FleetClient.cancel`."""
        which = {"role": role, "tenant": tenant, "subject": subject}
        told = self._fleet.cancel(*tasks, **which, every=every, reason=reason)
        return self._loop.wait(told)

    def purge(self, role: str, *, reason: str = "") -> int | None:
        """See `FleetClient.purge`."""
        return self._loop.wait(self._fleet.purge(role, reason=reason))

    def waiting(self, role: str) -> int | None:
        """See `FleetClient.waiting`."""
        return self._loop.wait(self._fleet.waiting(role))

    def pause(self, role: str, *, reason: str = "") -> None:
        """See `FleetClient.pause`."""
        self._loop.wait(self._fleet.pause(role, reason=reason))

    def resume(self, role: str) -> bool:
        """See `FleetClient.resume`."""
        return self._loop.wait(self._fleet.resume(role))

    def retry(self, task: str, *, force: bool = False) -> Sequence[DeadLetter]:
        """See `FleetClient.retry`."""
        return self._loop.wait(self._fleet.retry(task, force=force))

    def _of(self, task: Task) -> SyncTask:
        return SyncTask(task, self._loop, self)

    def close(self) -> None:
        """Let go of the broker and of the thread. In a forked process nothing happens: both belong
        to the process it was forked from."""
        self._closing()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


async def _awaited(connect: Callable[[], Awaitable[FleetClient]]) -> FleetClient:
    return await connect()


async def _nothing() -> None:
    return


def _close(loop: LoopThread, fleet: FleetClient) -> None:
    """By `close`, when nobody holds the connection any more, or at the end of the process."""
    loop.close(fleet.close())
