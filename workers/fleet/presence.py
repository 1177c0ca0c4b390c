"""Who is there: each worker shows itself in the key-value store while it lives."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from bus.errors import BusError
from bus.keyvalue import keys
from bus.keyvalue.paging import entries
from bus.keyvalue.protocol import KeyValue
from contracts.clock import Clock

RENEW = 5.0
"""Seconds between two signs of life; one is forgotten after three times that."""

LOOK = 0.5
"""Seconds after which a change is shown, if there was one: half of the second within which others
see it, the rest is for the way."""

OVERDUE = RENEW + 2.0
"""Seconds without a sign of life after which a worker is said to be silent."""

GONE = RENEW + 2 * LOOK
"""Seconds after its last sign in which a worker has died that gives no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """A worker of one role in one process. `since` and `at` are UTC epoch seconds; the counts
    are of this process since it started. `mean_run`: seconds a run takes of late, None before the
    first has ended. `health`: the URL under which it answers probes. `places`: how many of its
    `concurrency` it uses at present, because of `pressure` on the machine. `listens` and `limits`:
    as its own version of the role declares them, for people to read.

    `memory` is what its process holds, in bytes, without child processes; `cpu` the seconds of
    processor time it has used. `runs` and `waits`: how often a run and the wait before it took how
    long, by the buckets of `workers.telemetry`; empty if it does not tell.
    """

    role: str
    worker: str
    pid: int
    host: str
    since: float
    at: float
    concurrency: int
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    again: int = 0
    cancelled: int = 0
    draining: bool = False
    health: str = ""
    mean_run: float | None = None
    places: int | None = None
    pressure: str = ""
    listens: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    memory: int = 0
    cpu: float = 0.0
    runs: tuple[int, ...] = ()
    waits: tuple[int, ...] = ()

    def silent(self, now: float) -> float | None:
        """Seconds since its last sign of life where the next one is overdue, None where it is not.
        Compares the clock of its machine with that of whoever asks."""
        seconds = now - self.at
        return seconds if seconds > OVERDUE else None


_ADAPTER = TypeAdapter(Alive)


async def at_once() -> None:
    """For what needs no waiting."""


class Presence:
    """Shows one worker from when `ready` returns until it was stopped and `over` returns: while it
    drains it is there.

    `look` gives its present state; `shown` is called once it can be seen for the first time,
    `heard` whenever the store has answered.
    """

    def __init__(
        self,
        store: KeyValue,
        clock: Clock,
        look: Callable[[], Alive],
        *,
        ready: Callable[[], Awaitable[None]],
        shown: Callable[[], None],
        heard: Callable[[], None],
        over: Callable[[], Awaitable[None]] = at_once,
    ) -> None:
        self._store = store
        self._clock = clock
        self._look = look
        self._ready = ready
        self._shown = shown
        self._heard = heard
        self._over = over
        self._stopping = asyncio.Event()
        self._last: Alive | None = None
        self._put_at = 0.0
        self._signed_at: float | None = None

    async def run(self) -> None:
        """Renew until the end, then say good-bye at once instead of by expiry. A store that is
        away is tried again next time."""
        stop = asyncio.create_task(self._stopping.wait())
        await self._until_ready(stop)
        await self._renew_until(stop)
        over = asyncio.ensure_future(self._over())
        try:
            await asyncio.sleep(0)  # where nothing drains it is over now
            if self._last is not None:
                await self._renew_until(over)
        finally:
            over.cancel()
            await asyncio.gather(over, return_exceptions=True)
        await self._hide()

    def stop(self) -> None:
        """Stop showing it."""
        self._stopping.set()

    async def _renew_until(self, end: "asyncio.Future[Any]") -> None:
        while not end.done():
            if self._is_news(self._look()):
                await self._put()
            pause = asyncio.create_task(self._clock.sleep(LOOK))
            await asyncio.wait({end, pause}, return_when=asyncio.FIRST_COMPLETED)
            pause.cancel()

    async def _until_ready(self, stop: "asyncio.Task[bool]") -> None:
        ready = asyncio.ensure_future(self._ready())
        await asyncio.wait({stop, ready}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        await asyncio.gather(ready, return_exceptions=True)

    async def _hide(self) -> None:
        state = self._look()
        try:
            await self._store.delete(keys.alive(state.role, state.worker))
            if self._signed_at is not None:
                await self._store.delete(keys.last(state.worker))
        except BusError:
            return

    def _is_news(self, state: Alive) -> bool:
        """Whether what is shown is old, or no longer so."""
        last = self._last
        old = self._clock.monotonic() - self._put_at >= RENEW
        return last is None or old or _lasting(state) != _lasting(last)

    async def _put(self) -> None:
        state = self._look()
        try:
            key = keys.alive(state.role, state.worker)
            await self._store.put(key, to_json(asdict(state)), ttl=3 * RENEW)
            await self._sign(state)
        except BusError:
            return
        self._heard()
        if self._last is None:
            self._shown()
        self._last, self._put_at = state, self._clock.monotonic()

    async def _sign(self, state: Alive) -> None:
        """While it runs tasks, leave a note that outlives it: whoever looks at one that it held
        when it died is told since when it is gone."""
        now = self._clock.monotonic()
        due = self._signed_at is None or now - self._signed_at >= RENEW - LOOK
        if state.running and due:
            await self._store.put(keys.last(state.worker), to_json(state.at), ttl=keys.LAST_TTL)
            self._signed_at = now


async def last_sign(store: KeyValue, worker: str) -> float | None:
    """When a worker that ran tasks and is gone gave its last sign of life, UTC epoch seconds; it
    has died within `GONE` seconds after. None where that is not known."""
    entry = await store.get(keys.last(worker))
    try:
        return None if entry is None else float(from_json(entry.value))
    except (ValueError, TypeError):  # a foreign hand
        return None


def _lasting(state: Alive) -> Alive:
    """Without what changes all the time: alone it is no news, else no idle worker were quiet."""
    return replace(state, at=0.0, mean_run=None, memory=0, cpu=0.0)


async def present(store: KeyValue, role: str = "") -> list[Alive]:
    """The workers that have shown themselves lately, by role and worker."""
    found: list[Alive] = []
    async for entry in entries(store, keys.alive(role)):
        try:
            found.append(_ADAPTER.validate_python(from_json(entry.value)))
        except (ValidationError, ValueError):
            continue
    return found
