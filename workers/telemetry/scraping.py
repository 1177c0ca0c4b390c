"""The page `/metrics`: what was counted here, and what the broker says when it is asked."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from bus.backend import Lag, Lane
from bus.errors import BusError
from contracts.clock import Clock
from workers.health.endpoint import Page
from workers.telemetry.metrics import Figures, RoleFigures, text

FRESH = 0.5
"""Seconds for which what the broker said is said again."""

PATIENCE = 1.0
"""Seconds the broker, and a busy event loop before it, have to answer: then the page goes out
without its lag."""

KIND = "text/plain; version=0.0.4; charset=utf-8"


class Asked(Protocol):
    """The part of the bus that is asked."""

    def untold(self) -> Mapping[str, int]: ...
    async def lag(self, group: str) -> Mapping[Lane, object]: ...


@dataclass(frozen=True, slots=True)
class _Post:
    """Whom to ask, what for, and in which loop."""

    roles: Callable[[], Sequence[RoleFigures]]
    groups: Sequence[str]
    bus: Asked
    loop: asyncio.AbstractEventLoop


class Scraping:
    """Makes the page, in the loop of whoever serves it; the worker's loop is only asked for lag.

    `worker` names this process; `spans` tells what became of its spans.
    """

    def __init__(
        self,
        clock: Clock,
        worker: Mapping[str, str],
        spans: Callable[[], Mapping[str, int] | None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._worker = worker
        self._spans = spans
        self._post: _Post | None = None
        self._asking = asyncio.Lock()
        self._lag: dict[str, Mapping[Lane, Lag]] = {}
        self._asked = -FRESH
        self._errors = 0

    def over(
        self,
        bus: Asked,
        groups: Sequence[str],
        roles: Callable[[], Sequence[RoleFigures]] = tuple,
    ) -> None:
        """From now on tell of these roles, and of what waits for these groups. Called in the loop
        of the bus."""
        self._post = _Post(roles, groups, bus, asyncio.get_running_loop())

    async def page(self) -> Page:
        """What there is to tell now."""
        async with self._asking:
            if self._post is not None and self._clock.monotonic() - self._asked >= FRESH:
                await self._ask(self._post)
        post = self._post
        figures = Figures(
            worker=self._worker,
            roles=post.roles() if post else (),
            lag=self._lag,
            lag_errors=self._errors,
            untold=post.bus.untold() if post else {},
            spans=self._spans(),
        )
        return Page(HTTPStatus.OK, await asyncio.to_thread(text, figures), KIND)

    async def _ask(self, post: _Post) -> None:
        asking = asyncio.run_coroutine_threadsafe(_look(post.bus, post.groups), post.loop)
        try:
            async with asyncio.timeout(PATIENCE):
                self._lag = await asyncio.wrap_future(asking)
        except TimeoutError:
            self._lag = {}
        self._errors += len(post.groups) - len(self._lag)
        self._asked = self._clock.monotonic()


async def _look(bus: Asked, groups: Sequence[str]) -> dict[str, Mapping[Lane, Lag]]:
    """By group, of those that can be asked."""
    found: dict[str, Mapping[Lane, Lag]] = {}
    for group in groups:
        try:
            lanes = await bus.lag(group)
        except BusError:
            continue
        found[group] = {lane: lag for lane, lag in lanes.items() if isinstance(lag, Lag)}
    return found
