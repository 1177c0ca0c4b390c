"""What a plain `def` handler is given beside its payload: the context, without `await`."""

from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from contracts.envelope import Envelope, Priority
from workers.sdk.context import Context, Runtime, Seen

T = TypeVar("T")


class Bridge(Protocol):
    """From the thread of a handler to the event loop of its worker."""

    @property
    def cancelled(self) -> bool:
        """Whether the run is to end."""
        ...

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Have `work` done in the loop and wait for it. Raises what it raises, and
        `asyncio.CancelledError` once the run is to end."""
        ...


class SyncContext(Seen):
    """`Context` for a plain `def` handler, which runs in a thread: the same names, each blocking.

    Nothing can stop a thread from outside. When the run is to end (a time limit, a cancel, a lost
    lease, a stopping worker) `cancelled` becomes true, and every method here raises
    `asyncio.CancelledError`, which `except Exception` does not catch: let it pass. A handler that
    has not stopped two seconds later costs its worker process, so long loops ask `cancelled`.
    """

    def __init__(self, task: Envelope, runtime: Runtime, bridge: Bridge) -> None:
        super().__init__(task, runtime)
        self._ctx = Context(task, runtime)
        self._bridge = bridge

    @property
    def cancelled(self) -> bool:
        """Whether this run's result is no longer wanted; long loops ask now and then."""
        return self._bridge.cancelled or super().cancelled

    def progress(self, share: float, note: str = "", **data: Any) -> None:
        """See `Context.progress`."""
        self._bridge.wait(self._ctx.progress(share, note, **data))

    def stream(self, part: Any) -> None:
        """See `Context.stream`."""
        self._bridge.wait(self._ctx.stream(part))

    def publish(
        self, topic: str, payload: Any, *, priority: Priority | None = None, delay: float = 0.0
    ) -> str:
        """See `Context.publish`."""
        return self._bridge.wait(self._ctx.publish(topic, payload, priority=priority, delay=delay))

    def call(
        self, role: str, payload: Any, *, returns: Any = Any, deadline: float | None = None
    ) -> Any:
        """See `Context.call`. The thread waits; the place of this run goes to another meanwhile."""
        return self._bridge.wait(self._ctx.call(role, payload, returns=returns, deadline=deadline))
