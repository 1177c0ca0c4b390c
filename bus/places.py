"""Limited concurrency over the whole fleet: places that processes hold, and give back.

Who holds how many places of a scope is one entry, changed by compare-and-set. What a process holds
is its own as long as its sign of life is there: one entry per process, renewed with the leases
of its tasks, however many places it holds. Who finds no place looks for dead holders.
"""

import asyncio
import random
import secrets
from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from pydantic_core import from_json, to_json

from bus.backoff import Backoff
from bus.batching import Batcher
from bus.errors import BusError, Conflict
from bus.keyvalue import keys
from bus.keyvalue.paging import entries
from bus.keyvalue.protocol import ABSENT, Absent, Entry, KeyValue, Revision
from bus.patience import contested
from bus.waking import Bell, new_bell, ring, rung
from contracts.clock import Clock

T = TypeVar("T")

MOST_WAITING = 200
"""Tasks of one process that wait for places; more are put off."""

LOOK = 0.5
"""Seconds after which who waits looks again, whatever it has heard."""

_ENTRY_TTL = 7 * 86_400.0
"""Seconds an entry stays that nobody changes: longer than any run."""

_EMPTY_TTL = 60.0
_AWAY = Backoff(base=0.1, cap=2.0)

Holders = Mapping[str, int]
"""Places by process."""


def agreed(holders: Holders, me: str, limit: int, *, running: int, wanted: int) -> dict[str, int]:
    """`holders` with what `me` may hold: all that run, and as many of those wanted as are free."""
    others = {name: held for name, held in holders.items() if name != me}
    mine = running + max(0, min(wanted, limit - sum(others.values()) - running))
    return {**others, me: mine} if mine else others


@dataclass(slots=True)
class _Line:
    """What this process knows of one scope: how many of its places it uses, and who waits."""

    limit: int
    asking: Batcher[int, bool]
    running: int = 0
    users: int = 0
    buried: float = float("-inf")
    waiting: deque[Bell] = field(default_factory=deque)
    lookout: asyncio.Task[None] | None = None


class Places:
    """The places of all scopes, as one process sees them. For one event loop, but for `renew`."""

    def __init__(self, store: KeyValue, clock: Clock, rng: random.Random, lease: float) -> None:
        self.process = secrets.token_hex(8)
        self._store = store
        self._clock = clock
        self._rng = rng
        self._lease = lease
        self._renewed: float | None = None
        self._saying = asyncio.Lock()
        self._lines: dict[str, _Line] = {}
        self._waiting = 0
        self._beside: set[asyncio.Task[Any]] = set()

    async def take(self, scope: Sequence[str], limit: int) -> bool:
        """Whether a place is ours now; then `give` it back. Raises what the store raises, and then
        it is not ours; nor is it for a caller that is cancelled."""
        key = keys.places(scope)
        asking = self._spawn(self._take(key, self._line(key, limit)))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(lambda done: self._unwanted(scope, done))
            raise

    def give(self, scope: Sequence[str]) -> None:
        """Give a place back, at once; nobody waits for it."""
        key = keys.places(scope)
        line = self._line(key)
        line.running -= 1
        self._spawn(self._give(key, line))

    def crowded(self, scope: Sequence[str]) -> bool:
        """Whether others wait for this scope here, and no more shall."""
        line = self._lines.get(keys.places(scope))
        return bool(line and line.waiting) and self._waiting >= MOST_WAITING

    def awaited(self, scope: Sequence[str]) -> int:
        """How many wait here for a place of this scope: whoever comes now goes behind them."""
        line = self._lines.get(keys.places(scope))
        return len(line.waiting) if line else 0

    async def chance(
        self, scope: Sequence[str], limit: int, seconds: float, *, first: bool = False
    ) -> None:
        """Return when a place seems to be free, in order of asking, or before all others if
        `first`; at the latest after `seconds`. It may be gone when it is asked for."""
        key = keys.places(scope)
        line, bell = self._line(key, limit), new_bell()
        (line.waiting.appendleft if first else line.waiting.append)(bell)
        self._waiting += 1
        try:
            if line.lookout is None or line.lookout.done():
                line.lookout = asyncio.create_task(self._look_out(key, line))
            await rung(bell, self._clock, seconds)
        finally:
            self._waiting -= 1
            if bell in line.waiting:
                line.waiting.remove(bell)
            if not line.waiting and line.lookout is not None:
                line.lookout.cancel()
                line.lookout = None
            self._leave(key, line)

    async def renew(self, store: KeyValue) -> None:
        """Say that this process lives, if it holds places; `store` may be another connection, in
        another thread."""
        if self._lines:
            await self._say(store)

    async def close(self) -> None:
        """Give back what is being given back, as far as that is quick."""
        if self._beside:
            await asyncio.wait(self._beside, timeout=1.0)
        for task in list(self._beside):
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        if self._renewed is not None:
            with suppress(BusError):  # it expires
                await self._store.delete(keys.holder(self.process))

    def _line(self, key: str, limit: int | None = None) -> _Line:
        line = self._lines.get(key)
        if line is None:
            asking = Batcher(partial(self._ask, key), limit=10_000)
            line = self._lines[key] = _Line(limit or 0, asking)
        line.limit = limit or line.limit
        line.users += 1
        return line

    def _leave(self, key: str, line: _Line) -> None:
        line.users -= 1
        if not (line.users or line.running) and self._lines.get(key) is line:
            del self._lines[key]

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)
        return task

    async def _take(self, key: str, line: _Line) -> bool:
        try:
            await self._show_life()
            return await line.asking.ask_one(1)
        except BusError:  # the store may have it all the same
            line.users += 1
            self._spawn(self._give(key, line))
            raise
        finally:
            self._leave(key, line)

    def _unwanted(self, scope: Sequence[str], taken: asyncio.Task[bool]) -> None:
        """A place that came after its caller had gone."""
        if not taken.cancelled() and taken.exception() is None and taken.result():
            self.give(scope)

    async def _show_life(self) -> None:
        """Before a place is ours, others must be able to see that its holder lives."""
        async with self._saying:
            now = self._clock.monotonic()
            if self._renewed is None or now - self._renewed > self._lease / 4:
                await self._say(self._store)

    async def _say(self, store: KeyValue) -> None:
        now = self._clock.monotonic()
        await store.put(keys.holder(self.process), b"", ttl=self._lease)
        self._renewed = now

    async def _give(self, key: str, line: _Line) -> None:
        """Until it is given back: our sign of life would keep it from the others for ever."""
        tries = 0
        try:
            while True:
                try:
                    await line.asking.ask_one(0)
                    return
                except BusError:
                    await self._clock.sleep(_AWAY.delay(tries, self._rng))
                    tries += 1
        finally:
            self._leave(key, line)

    async def _ask(self, key: str, wanted: Sequence[int]) -> Sequence[bool]:
        """Agree on what this process holds. Each item wants one place more, or none; the first
        ones that want get what there is."""
        agree = partial(self._agree, key, self._lines[key], sum(wanted))
        got = await contested(agree, self._clock, self._rng)
        answers = []
        for want in wanted:
            answers.append(want > 0 and got > 0)
            got -= answers[-1]
        return answers

    async def _agree(self, key: str, line: _Line, wanted: int) -> int:
        """How many places more this process holds."""
        found, running = await self._store.get(key + "held"), line.running
        before = _read(found.value) if found else {}
        after = agreed(before, self.process, line.limit, running=running, wanted=wanted)
        if after != before:
            ttl = _ENTRY_TTL if after else _EMPTY_TTL
            expect: Revision | Absent = found.revision if found else ABSENT
            await self._store.put(key + "held", to_json(after), ttl=ttl, expect=expect)
        got = after.get(self.process, 0) - running
        line.running += got
        return got

    async def _look_out(self, key: str, line: _Line) -> None:
        """Wake who waits when places are free, in order."""
        news = asyncio.Event()
        watch = asyncio.create_task(self._watch(key, news))
        try:
            while True:
                news.clear()
                with suppress(BusError):
                    await self._look(key, line)
                sleeper = asyncio.create_task(self._clock.sleep(LOOK))
                heard = asyncio.create_task(news.wait())
                try:
                    await asyncio.wait({sleeper, heard}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    sleeper.cancel()
                    heard.cancel()
        finally:
            watch.cancel()

    async def _watch(self, key: str, news: asyncio.Event) -> None:
        while True:
            with suppress(BusError):
                async for _ in self._store.watch(key):
                    news.set()
            await self._clock.sleep(LOOK)

    async def _look(self, key: str, line: _Line) -> None:
        found = await self._store.get(key + "held")
        holders = _read(found.value) if found else {}
        free = line.limit - sum(holders.values())
        for bell in list(line.waiting)[: max(0, free)]:
            line.waiting.remove(bell)
            ring(bell)
        now = self._clock.monotonic()
        if free <= 0 and found is not None and now - line.buried >= LOOK:
            line.buried = now
            await self._bury(found, holders)

    async def _bury(self, found: Entry, holders: Holders) -> None:
        """Free the places of those that do not live any more."""
        living = await self._living()
        left = {name: held for name, held in holders.items() if name in living}
        if left != holders:
            ttl = _ENTRY_TTL if left else _EMPTY_TTL
            with suppress(Conflict):  # somebody else changed it: look again
                await self._store.put(found.key, to_json(left), ttl=ttl, expect=found.revision)

    async def _living(self) -> set[str]:
        """Processes that live, this one among them."""
        found = entries(self._store, keys.holder())
        return {self.process} | {keys.last_word(entry.key) async for entry in found}


def _read(value: bytes) -> dict[str, int]:
    return {str(name): int(held) for name, held in from_json(value).items()}
