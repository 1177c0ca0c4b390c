"""Judges whether this process lives and can work, and ends it when its broker stays away."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

import structlog

from bus.contact import BEAT, Contact
from bus.errors import Unreachable
from contracts.clock import Clock
from workers.health.endpoint import Page

NOT_READY = 5.0
"""Seconds without the broker, or in which nothing can be pulled, after which a process says that
it is not ready (promise 16)."""

DEAD = 30.0
"""Seconds for which the event loop may stand still before the process says that it is dead. A
handler that blocks the loop for less keeps its lease and harms nobody."""

_log = structlog.get_logger("muster.health")


class Works(Protocol):
    """What is asked of those who do the work; from any thread."""

    stopping: bool

    @property
    def keeps(self) -> bool:
        """Whether leases are kept: the thread that does it has not ended by itself."""
        ...

    def unbound(self) -> Sequence[str]:
        """The roles that are not bound."""
        ...

    def troubles(self) -> Mapping[str, str]:
        """What does not work at this moment, and why."""
        ...


@dataclass(frozen=True, slots=True)
class _Post:
    """Whom to watch."""

    works: Works
    contact: Contact


class Watch:
    """Looks twice a second, from `run` on. `livez` and `readyz` may be called from any thread,
    also before.

    `give_up`: seconds without the broker after which `run` calls `gave_up` and raises
    `Unreachable`, so that whoever keeps this process alive starts it anew.
    """

    def __init__(
        self, clock: Clock, *, give_up: float, gave_up: Callable[[], Awaitable[None]]
    ) -> None:
        self._clock = clock
        self._give_up = give_up
        self._gave_up = gave_up
        self._post: _Post | None = None
        self._turned = clock.monotonic()
        self._bad: dict[str, tuple[float, str]] = {}
        self._ending = asyncio.Event()

    def over(self, works: Works, contact: Contact) -> None:
        """From now on, watch over these."""
        self._post = _Post(works, contact)
        self._turned = self._clock.monotonic()

    async def run(self) -> None:
        """Watch until `end`; raises `Unreachable` when the broker was away for too long."""
        post = self._post
        if post is None:
            raise RuntimeError("there is nothing to watch over")
        keeping = asyncio.create_task(post.contact.keep())
        end = asyncio.create_task(self._ending.wait())
        try:
            while not end.done():
                before = self._clock.monotonic()
                pause = asyncio.create_task(self._clock.sleep(BEAT))
                await asyncio.wait({end, pause}, return_when=asyncio.FIRST_COMPLETED)
                pause.cancel()
                self._turned = self._clock.monotonic()
                self._look(post, min(self._turned - before, 2 * BEAT))
                if self.away >= self._give_up:
                    raise await self._giving_up()
        finally:
            keeping.cancel()
            end.cancel()
            await asyncio.wait([keeping, end])

    def stop(self) -> None:
        """A process that drains is still watched; see `end`."""

    def end(self) -> None:
        """Watch no longer: the work has ended."""
        self._ending.set()

    @property
    def away(self) -> float:
        """Seconds for which this process could not work for want of its broker."""
        silence = self._post.contact.silence if self._post else 0.0
        return max([silence, *(seconds for seconds, _ in self._bad.copy().values())])

    def livez(self) -> Page:
        """200 while the event loop turns and the keeper of the leases lives."""
        why: list[str] = []
        if self._still() >= DEAD:
            why.append(f"the event loop has stood still for {self._still():.0f} s")
        if self._post is not None and not self._post.works.keeps:
            why.append("the thread that keeps the leases has ended")
        return _page("alive", why)

    def readyz(self) -> Page:
        """200 while every role is bound and its tasks can come here, else 503 with the reasons."""
        return _page("ready", self._reasons())

    def _reasons(self) -> list[str]:
        post = self._post
        if post is None:
            return ["the process is starting"]
        why = [f"the role {role} is not bound" for role in post.works.unbound()]
        if post.works.stopping:
            why.append("the process drains")
        if not post.works.keeps:
            why.append("the thread that keeps the leases has ended")
        if self._still() >= NOT_READY:
            return [*why, f"a handler blocks the event loop for {self._still():.0f} s"]
        if post.contact.silence >= NOT_READY:
            why.append(f"the broker has not answered for {post.contact.silence:.0f} s")
        bad = self._bad.copy().items()
        lasting = [f"{what}: {text}" for what, (seconds, text) in bad if seconds >= NOT_READY]
        return why + lasting

    def _look(self, post: _Post, seconds: float) -> None:
        """Count how long each trouble lasts; one that is over is forgotten."""
        bad = self._bad
        self._bad = {
            what: (bad[what][0] + seconds if what in bad else 0.0, why)
            for what, why in post.works.troubles().items()
        }

    def _still(self) -> float:
        return self._clock.monotonic() - self._turned if self._post else 0.0

    async def _giving_up(self) -> Unreachable:
        error = Unreachable(
            f"the broker has been away for {self.away:.0f} s: this process gives up",
            details="; ".join(self._reasons()) or "it did not answer",
            actions=("look after the broker; whoever supervises this process starts it again",),
        )
        _log.error(error.message, why=error.details)
        await self._gave_up()
        return error


def _page(what: str, why: list[str]) -> Page:
    status = HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK
    body = json.dumps({what: not why, "why": why}, ensure_ascii=False)
    return Page(status, body.encode() + b"\n")
