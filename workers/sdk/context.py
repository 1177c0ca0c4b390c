"""What a handler is given beside its payload."""

from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import TypeAdapter

from contracts.envelope import Envelope, Priority
from contracts.results import Result


class Logger(Protocol):
    """Structured logging: a sentence and fields."""

    def debug(self, event: str, **fields: Any) -> Any: ...
    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...


class Runtime(Protocol):
    """What the engine does for one run of a handler."""

    @property
    def log(self) -> Logger: ...
    @property
    def cancelled(self) -> bool: ...
    async def progress(self, share: float, note: str, data: Mapping[str, Any]) -> None: ...
    async def stream(self, part: Any) -> None: ...
    async def publish(
        self, number: int, topic: str, payload: Any, priority: Priority | None, delay: float
    ) -> str: ...
    async def call(
        self, number: int, role: str, payload: Any, deadline: float | None
    ) -> Result: ...


class Seen:
    """What every handler sees of its task and its run."""

    def __init__(self, task: Envelope, runtime: Runtime) -> None:
        self._task = task
        self._runtime = runtime

    @property
    def id(self) -> str:
        """The task's id; the same in every run of it."""
        return self._task.id

    @property
    def topic(self) -> str:
        """The topic it was published to."""
        return self._task.topic

    @property
    def tenant(self) -> str:
        """Whose task it is."""
        return self._task.tenant

    @property
    def attempt(self) -> int:
        """This run's number, from 1 on; snoozes and hand-backs do not count."""
        return self._task.attempt + 1

    @property
    def fence(self) -> int:
        """Rises with every run of this task that replaces an earlier one: hand it to whatever
        must not be changed by a run that has been replaced."""
        return self._task.copy if self._task.fence is None else self._task.fence

    @property
    def correlation(self) -> str:
        """The id of the task at the root of this one's calls."""
        return self._task.correlation or self._task.id

    @property
    def deadline(self) -> float | None:
        """UTC epoch seconds after which nobody wants the result, or None."""
        return self._task.deadline

    @property
    def cancelled(self) -> bool:
        """Whether this run's result is no longer wanted; long loops ask now and then."""
        return self._runtime.cancelled

    @property
    def log(self) -> Logger:
        """A logger that already knows task, role and attempt."""
        return self._runtime.log


class Context(Seen):
    """One run of one task, seen by its handler. Made by the engine; used by one run only."""

    def __init__(self, task: Envelope, runtime: Runtime) -> None:
        super().__init__(task, runtime)
        self._calls = 0
        self._published = 0

    async def progress(self, share: float, note: str = "", **data: Any) -> None:
        """Tell whoever watches: `share` done from 0 to 1, and a word about it."""
        await self._runtime.progress(min(1.0, max(0.0, share)), note, data)

    async def stream(self, part: Any) -> None:
        """Send a part of the result (a pydantic model, or anything JSON can hold) to the caller,
        who asked for parts with `publish(…, stream=True)`; else nothing happens.

        Parts arrive in order. A run that takes this one's place begins anew, and the reader is
        told. What is sent is on its way when this returns, and safe before the run succeeds.
        Waits while 1,000 parts or 1 MiB are on their way. Raises `InvalidPayload` for what is no
        JSON, `TooLarge` for a part over 256 KiB or more than 16 MiB in one run, and `Unreachable`
        after 30 s without the bus.
        """
        await self._runtime.stream(part)

    async def publish(
        self, topic: str, payload: Any, *, priority: Priority | None = None, delay: float = 0.0
    ) -> str:
        """Publish a follow-up task and return its id.

        A handler that runs again publishes the same ids in the same order, so a repetition
        within two minutes adds nothing. Raises what `Fleet.publish` raises.
        """
        self._published += 1
        return await self._runtime.publish(self._published, topic, payload, priority, delay)

    async def call(
        self, role: str, payload: Any, *, returns: Any = Any, deadline: float | None = None
    ) -> Any:
        """Have `role` do `payload` and return its result, read as the type `returns` (JSON
        values by default).

        The child's id is made of this task's id, the number of the call, the role and the
        payload: a parent that runs again finds what its children have done instead of having
        it done again. Calls may run concurrently if each run starts them in the same order.
        `deadline` in UTC epoch seconds, this task's own by default. Raises `TaskFailed` when the
        child ended as a dead letter, `UnknownRole` when no such role is bound.
        """
        self._calls += 1
        result = await self._runtime.call(self._calls, role, payload, deadline)
        if returns is Any:
            return result.value
        return TypeAdapter(returns).validate_python(result.value)
