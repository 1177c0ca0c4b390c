"""The connection on which Redis tells a watch what changes: subscriptions lose nothing while it
stands, and what was published before an answer comes before it."""

import asyncio
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bus.backends.redis.errors import Refused
from bus.backends.redis.link import RedisLink
from bus.backends.redis.scripts import script
from bus.backends.redis.wire import Wire

_FOLDER = Path(__file__).parent / "redis_scripts"
_BEAT = script("beat", folder=_FOLDER)
_EXPIRE = script("expire", folder=_FOLDER)

_QUIET = 10.0
"""Seconds of silence after which the server is asked whether the connection stands."""

_PATIENCE = 5.0
_DOING = "watching entries"


class Broken(Exception):
    """Something may have been missed; begin again with a snapshot."""


class Told(NamedTuple):
    """What was told of an entry; `kind` is put, deleted or expired."""

    kind: str
    key: str
    revision: int
    left: float | None
    value: bytes


class Beat(NamedTuple):
    """The time of the server, in milliseconds."""

    time: int


class Feed:
    """A subscription to what lies under a prefix, and to beats."""

    def __init__(self, link: RedisLink, prefix: str, *, beats: bool) -> None:
        self._link = link
        self._root = f"{link.prefix}:kv:"
        self._pattern = _literally(self._root + prefix) + "*"
        self._beats = f"{link.prefix}:beat" if beats else ""
        self._wire: Wire | None = None
        self._items: deque[Told | Beat] = deque()
        self._news = asyncio.Event()
        self._confirmed = 0
        self._ponged = 0
        self._pinged = 0
        self._unheard = 0
        self._broken = False
        self._refused: Refused | None = None

    async def open(self) -> None:
        """Return when everything that is told from now on comes here."""
        self._wire = await self._link.open(_DOING, push=self._on_push)
        self._link.lost.append(self._on_lost)
        self._wire.subscribe("PSUBSCRIBE", self._pattern)
        if self._beats:
            self._wire.subscribe("SUBSCRIBE", self._beats)
        await self._until(lambda: self._confirmed >= 1 + bool(self._beats))

    def close(self) -> None:
        """Hear nothing more."""
        if self._on_lost in self._link.lost:
            self._link.lost.remove(self._on_lost)
        if self._wire is not None:
            self._wire.drop()

    def wake(self) -> None:
        """Let `next` look anew until when it is to wait."""
        self._news.set()

    async def next(self, until: Callable[[], float]) -> Told | Beat | None:
        """What was told next; None when nothing was `until` then, by the monotonic clock."""
        clock = self._link.clock
        while not self._items:
            self._check()
            left = until() - clock.monotonic()
            if left <= 0:
                return None
            if not await self._heard(min(left, _QUIET)) and left > _QUIET:
                await self._ping()
        self._unheard = 0
        return self._items.popleft()

    async def until_now(self) -> list[Told]:
        """All that was told before this moment."""
        await self._ping()
        found = [item for item in self._items if isinstance(item, Told)]
        self._items.clear()
        return found

    async def beat(self) -> int:
        """Send a beat; the server's time in it. Raises `Broken` if earlier ones were not heard."""
        self._unheard += 1
        if self._unheard > 2:
            raise Broken
        return int(await self._link.run(_BEAT, doing=_DOING))

    async def expire(self) -> None:
        """Let what has come to its end be told; when this returns it has been, and is next."""
        await self._link.run(_EXPIRE, doing=_DOING)
        await self._ping()

    async def _ping(self) -> None:
        """Return when the answer is here, and so all that was told before it."""
        if self._wire is None:
            raise Broken
        self._pinged += 1
        self._wire.subscribe("PING")
        await self._until(lambda: self._ponged >= self._pinged)

    async def _until(self, holds: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):  # wait_for would swallow a cancellation
                while not holds():
                    self._check()
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError as error:
            raise Broken from error

    async def _heard(self, seconds: float) -> bool:
        self._news.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    def _check(self) -> None:
        if self._refused is not None:
            raise self._link.failure(self._refused, _DOING) from self._refused
        if self._broken:
            raise Broken

    def _on_push(self, item: Any) -> None:
        self._news.set()
        if isinstance(item, Refused):
            self._refused = item
        elif isinstance(item, Exception):
            self._broken = True
        elif item[0] == b"pmessage":
            self._items.append(self._told(item[2], item[3]))
        elif item[0] == b"message":
            self._items.append(Beat(int(item[2])))
        elif item[0] == b"pong":
            self._ponged += 1
        else:
            self._confirmed += 1

    def _told(self, channel: bytes, data: bytes) -> Told:
        head, _, value = data.partition(b"\n")
        kind, revision, left = head.decode().split(" ")
        key = channel.decode().removeprefix(self._root)
        return Told(kind, key, int(revision), int(left) / 1000 if left else None, value)

    def _on_lost(self) -> None:
        self._broken = True
        self._news.set()


def _literally(text: str) -> str:
    """`text` as a pattern that matches it alone."""
    return "".join(f"\\{sign}" if sign in "\\*?[]^" else sign for sign in text)
