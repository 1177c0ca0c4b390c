"""Outcomes somebody will ask for, and progress somebody watches, as key-value entries."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json

from bus.errors import Closed, Conflict, Unreachable
from bus.keyvalue import keys
from bus.keyvalue.protocol import ABSENT, Absent, Entry, KeyValue, Revision, Snapshot, Written
from contracts.clock import Clock
from contracts.errors import DecodeError
from contracts.results import Result, Status, decode_result

AGAIN = 0.25
"""Seconds before a store that was away is asked again."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running task says it is: a share from 0 to 1, and a word about it."""

    task: str
    share: float
    note: str


class Outcomes:
    """Where the ends of tasks wait for whoever asked. Safe to use from several processes."""

    def __init__(self, store: KeyValue) -> None:
        self._store = store

    async def put(self, reply: str, result: Result) -> None:
        """Keep `result` for `reply`, unless one with a higher fence is there."""
        key = keys.outcome(reply, result.id)
        expect: Revision | Absent = ABSENT
        while True:
            try:
                await self._store.put(key, result.encode(), ttl=keys.OUTCOME_TTL, expect=expect)
                return
            except Conflict:
                rival = await self._store.get(key)
            if rival is None:
                expect = ABSENT
            elif decode_result(rival.value).fence > result.fence:
                return
            else:
                expect = rival.revision

    async def get(self, reply: str, task: str) -> Result | None:
        """The outcome of `task` that `reply` asked for, if it is there."""
        entry = await self._store.get(keys.outcome(reply, task))
        return decode_result(entry.value) if entry else None

    async def report(self, reply: str, progress: Progress) -> None:
        """Show `progress` to whoever watches; the latest one is kept."""
        key = keys.progress(reply, progress.task)
        value = to_json({"share": progress.share, "note": progress.note})
        await self._store.put(key, value, ttl=keys.PROGRESS_TTL)

    async def watch(self, reply: str) -> AsyncIterator[Result]:
        """Every outcome that `reply` asked for: those that are there, then each as it comes."""
        async for entry in self._entries(keys.outcome(reply)):
            yield _readable(entry)

    async def watch_progress(self, reply: str) -> AsyncIterator[Progress]:
        """The latest progress of each task that `reply` asked for, then each as it comes."""
        async for entry in self._entries(keys.progress(reply)):
            data: dict[str, Any] = from_json(entry.value)
            task = keys.last_word(entry.key)
            yield Progress(task, float(data["share"]), str(data["note"]))

    async def _entries(self, prefix: str) -> AsyncIterator[Entry]:
        async for change in self._store.watch(prefix):
            if isinstance(change, Snapshot):
                for entry in change.entries:
                    yield entry
            elif isinstance(change, Written):
                yield change.entry


class Waiters:
    """Futures for outcomes that one `reply` asks for, fed by one watch however many wait.

    A store that is away is waited for; give each wait a time limit of its own.
    """

    def __init__(self, outcomes: Outcomes, reply: str, clock: Clock) -> None:
        self._outcomes = outcomes
        self._reply = reply
        self._clock = clock
        self._futures: dict[str, asyncio.Future[Result]] = {}
        self._watch: asyncio.Task[None] | None = None
        self._closed = False

    async def wait(self, task: str) -> Result:
        """The outcome of `task`, when it is there; cancel to stop waiting.

        The future is there before anybody looks, so that an outcome put meanwhile is not missed.
        """
        if self._closed:
            raise _stopped()
        future = self._futures.get(task)
        if future is None:
            future = self._futures[task] = asyncio.get_running_loop().create_future()
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._follow())
        else:
            await self._look(task, future)
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Stop watching; whoever still waits gets `Closed`."""
        self._closed = True
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
        self._fail(_stopped())

    async def _look(self, task: str, future: asyncio.Future[Result]) -> None:
        """For an outcome that the watch has told already, when nobody waited for it."""
        while not future.done():
            try:
                found = await self._outcomes.get(self._reply, task)
            except Unreachable:
                await self._clock.sleep(AGAIN)
                continue
            if found is not None:
                self._tell(found)
            return

    async def _follow(self) -> None:
        while True:
            try:
                async for result in self._outcomes.watch(self._reply):
                    self._tell(result)
            except Unreachable:
                pass
            except Exception as error:  # noqa: BLE001 - raised where somebody waits
                self._fail(error)
                return
            await self._clock.sleep(AGAIN)

    def _tell(self, result: Result) -> None:
        future = self._futures.pop(result.id, None)
        if future is not None and not future.done():
            future.set_result(result)

    def _fail(self, error: Exception) -> None:
        futures, self._futures = self._futures, {}
        for future in futures.values():
            if not future.done():
                future.set_exception(error)
                future.exception()  # one that nobody waits for any more is no news


def _readable(entry: Entry) -> Result:
    """The outcome in `entry`; one that cannot be read, such as a later release's, is a failure
    that says so to whoever waits for it, and to nobody else."""
    try:
        return decode_result(entry.value)
    except DecodeError as error:
        return Result(
            id=keys.last_word(entry.key),
            status=Status.FAILED,
            role="",
            worker="",
            fence=0,
            attempt=0,
            finished=0.0,
            error=str(error),
        )


def _stopped() -> Closed:
    return Closed(
        "nobody waits for outcomes any more",
        details="the connection they were asked on was closed",
        actions=("connect again and ask again",),
    )
