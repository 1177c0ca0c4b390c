"""What a worker process knows of stops: all marks, and how current that is."""

import asyncio
import logging
from collections.abc import Callable
from math import inf

from bus.errors import BusError, Closed, LockedOut
from bus.keyvalue import keys
from bus.keyvalue.protocol import Change, Current, KeyValue, Snapshot, Wish, Written
from bus.stops import Kind, Mark, is_stopped, read
from contracts.clock import Clock
from contracts.envelope import Envelope
from contracts.outcomes import Cancelled

FRESH = 1.0
"""Seconds a view may lie behind: with an older one nothing is started."""

EVERY = 0.4
"""Seconds between two signs that nothing has changed, while somebody asks."""

_AGAIN = 0.25

_log = logging.getLogger(__name__)


class StopView:
    """All marks as one watch of this process tells them. For one event loop.

    `changed` functions are called after each change, and when the view is fresh again.
    """

    def __init__(self, store: KeyValue, clock: Clock) -> None:
        self.changed: list[Callable[[], None]] = []
        self._store = store
        self._clock = clock
        self._marks: dict[str, Mark] = {}
        self._at: Current | None = None
        self._wish = Wish()
        self._news = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def fresh(self) -> bool:
        """Whether all marks of up to `FRESH` seconds ago are known, by the larger of both clocks:
        a process that stood still, or a machine that slept, does not know them. Whoever asks lets
        the store tell: nobody has to where nothing starts, and it may be silent then."""
        if (behind := self._behind()) <= EVERY:
            return True
        self._wish.make()
        return behind <= FRESH

    def start(self) -> None:
        """Begin to follow, unless this was asked for before."""
        if self._following is None and not self._closed:
            self._following = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Follow no longer; the view is never fresh again."""
        self._closed = True
        self._at = None
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])

    def stopped(self, task: Envelope, group: str) -> Cancelled | None:
        """What is known now: how this task ends, if it is stopped."""
        mark = is_stopped(task, group, self._marks)
        return None if mark is None else mark.outcome()

    def is_paused(self, role: str) -> bool:
        """Whether this role is to start nothing for the time being."""
        return bool(self._marks) and keys.stop(Kind.PAUSE, role) in self._marks

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return when something holds, asked after each sign of life of the store."""
        self.start()
        while not holds():
            await self._news.wait()

    async def until_fresh(self) -> None:
        """Return when all marks of the last second are known."""
        await self.until(lambda: self.fresh)

    async def judge(self, task: Envelope, group: str) -> Cancelled | None:
        """As `stopped`, once the view is fresh. Nothing is awaited after that was found."""
        if not self.fresh:
            await self.until_fresh()
        return self.stopped(task, group)

    def _behind(self) -> float:
        """Seconds that lie behind what is known."""
        at, clock = self._at, self._clock
        if at is None:
            return inf
        by_monotonic, by_wall = clock.monotonic() - at.monotonic, clock.wall() - at.wall
        return by_wall if by_wall > by_monotonic else by_monotonic  # noqa: FURB136 - asked often

    async def _follow(self) -> None:
        while True:
            try:
                async for change in self._store.follow(keys.STOPS, every=EVERY, wish=self._wish):
                    self._apply(change)
            except Closed:
                return
            except BusError as error:
                level = logging.DEBUG if isinstance(error, LockedOut) else logging.WARNING
                _log.log(level, "stops cannot be followed; trying again: %s", error)
            except Exception:  # noqa: BLE001 - without a view nothing would ever start again
                _log.exception("stops cannot be followed; trying again")
            await self._clock.sleep(_AGAIN)

    def _apply(self, change: Change | Current) -> None:
        was_fresh = self._behind() <= FRESH
        if isinstance(change, Current):
            self._at = change
            if self._behind() <= EVERY:
                self._wish.grant()
        elif isinstance(change, Snapshot):
            self._marks = {entry.key: read(entry) for entry in change.entries}
        elif isinstance(change, Written):
            self._marks[change.entry.key] = read(change.entry)
        else:
            self._marks.pop(change.key, None)
        if not isinstance(change, Current) or (not was_fresh and self._behind() <= FRESH):
            for call in list(self.changed):
                call()
        news, self._news = self._news, asyncio.Event()
        news.set()
