"""Notices a connection on which nothing comes any more: frozen server, cut network, dead reader.

TCP says nothing of that for many minutes. Whatever comes is a sign of life, and so is what goes
out; the server is asked (PING) only where there was none for a while, and a connection that stays
silent is dropped, which begins the reconnecting.
"""

import asyncio
from collections.abc import Callable

from bus.backends.nats.client import NatsClient

_BEAT = 0.5
"""Seconds between two looks. What is counted are looks, not time: one that comes late because the
process stood still counts once, and what had arrived meanwhile is read before the next."""

_QUIET = 6
"""Looks without a sign of life before a PING, while something is to come."""

_IDLE = 20
"""The same while nothing is to come."""

_PATIENCE = 4
"""Looks that a PING may stay unanswered: with `_QUIET`, five seconds from the last sign of life."""


class Keepalive:
    """Watches the connection of `client`. `expecting` tells whether something is to come:
    an answer, or messages the server hands out by itself."""

    def __init__(self, client: NatsClient, expecting: Callable[[], bool]) -> None:
        self._client = client
        self._expecting = expecting
        self._silent = 0
        self._unanswered = 0
        self._unsent = 0
        self._timer: asyncio.TimerHandle | None = None
        self._dropping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; needs a running loop."""
        self._timer = asyncio.get_running_loop().call_later(_BEAT, self._beat)

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_BEAT, self._beat)
        if not self._client.is_connected or self._alive():
            self._silent = self._unanswered = 0
            return
        self._silent += 1
        if self._unanswered:
            self._unanswered += 1
            if self._unanswered > _PATIENCE:
                self._drop()
        elif self._silent >= (_QUIET if self._expecting() else _IDLE):
            self._unanswered = 1
            self._client.ping()

    def _alive(self) -> bool:
        """Whether anything came since the last look, or less is unsent than then."""
        heard, self._client.heard = self._client.heard, False
        before, self._unsent = self._unsent, self._client.unsent
        return heard or self._unsent < before

    def _drop(self) -> None:
        self._silent = self._unanswered = 0
        self._dropping = asyncio.get_running_loop().create_task(self._client.drop())
