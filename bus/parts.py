"""Parts of results on their way to whoever waits, as key-value entries that expire.

Each entry holds some parts of one run, in order; its key tells run and number. A reader follows
the latest run: when one takes another's place, what was read before is void.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic_core import from_json

from bus.keyvalue import keys
from bus.keyvalue.paging import entries
from bus.keyvalue.protocol import Entry, KeyValue, Snapshot, Written
from contracts.results import Result


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a task's result. `number` counts from 1 within a run. Number 0 has no value: a run
    begins anew, and all parts before it are void. `attempt` is the run's."""

    value: Any
    number: int
    attempt: int

    @property
    def restarts(self) -> bool:
        """Whether all parts before this one are void."""
        return self.number == 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Parts of one run, the first of which has the number `first`."""

    run: int
    role: str
    attempt: int
    first: int
    values: Sequence[Any]


class Persist(Protocol):
    """Repeats a call while the store is away."""

    def __call__(self, call: Callable[[], Awaitable[Any]], /) -> Awaitable[Any]: ...


class Parts:
    """Where parts of results wait for whoever asked. Safe to use from several processes."""

    def __init__(self, store: KeyValue, persist: Persist) -> None:
        self._store = store
        self._persist = persist

    async def put(self, reply: str, task: str, batch: Batch, bodies: Sequence[bytes]) -> None:
        """Keep parts as JSON for `reply`; the values of `batch` are left to its readers. Waits for
        a store that is away, then raises `Unreachable`."""
        run = (batch.run, batch.role, batch.first)
        value = b'{"attempt":%d,"parts":[%b]}' % (batch.attempt, b",".join(bodies))
        key = keys.part(reply, task, *run)
        await self._persist(lambda: self._store.put(key, value, ttl=keys.PARTS_TTL))

    async def read(self, reply: str, task: str) -> list[Batch]:
        """All that is there now, in order."""
        return [_batch(e) async for e in entries(self._store, keys.part(reply, task))]

    async def watch(self, reply: str, task: str) -> AsyncIterator[Batch]:
        """All that is there, in order, then each as it comes; some may come again."""
        changes = self._store.watch(keys.part(reply, task))
        async with aclosing(changes) as following:  # type: ignore[type-var]
            async for change in following:
                if isinstance(change, Snapshot):
                    for entry in change.entries:
                        yield _batch(entry)
                elif isinstance(change, Written):
                    yield _batch(change.entry)


class Assembly:
    """Puts batches together to what one reader sees: each part once, in order, of the latest run.

    Where two roles answer one task, the first heard is followed."""

    def __init__(self) -> None:
        self._run = -1
        self._role = ""
        self._number = 0

    def take(self, batch: Batch) -> list[Part]:
        """What the reader did not have yet."""
        if batch.run < self._run or self._role not in {"", batch.role}:
            return []
        self._role = batch.role
        parts = self._restart(batch.run, batch.attempt)
        for number, value in enumerate(batch.values, batch.first):
            if number > self._number:
                parts.append(Part(value, number, batch.attempt))
                self._number = number
        return parts

    def end(self, batches: Sequence[Batch], result: Result) -> list[Part]:
        """What the reader did not have yet of a task that ended: nothing but the parts of that run
        is left."""
        parts = [p for b in batches if b.run <= result.fence for p in self.take(b)]
        return [*parts, *self._restart(result.fence, result.attempt)]

    def _restart(self, run: int, attempt: int) -> list[Part]:
        if run <= self._run:
            return []
        told = [Part(None, 0, attempt)] if self._number else []
        self._run, self._number = run, 0
        return told


def _batch(entry: Entry) -> Batch:
    run, role, first = entry.key.split("/")[-3:]
    told = from_json(entry.value)
    return Batch(int(run), role, told["attempt"], int(first), told["parts"])
