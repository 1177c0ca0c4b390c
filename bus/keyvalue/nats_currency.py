"""How current a NATS watch is, told from the server's heartbeats.

A heartbeat carries no time, and one that is read now may have come while this process stood
still. But the server sends the next one `every` seconds after the last, never sooner: so each moves
the moment that the watch is known to be current at by `every`, and no further. Where that falls
behind, by what the server's timer loses or because heartbeats were held up, one question to the
server over the same connection finds out: what was sent before the answer has come before it.
"""

from collections.abc import Callable

from bus.keyvalue.protocol import Current
from contracts.clock import Clock

SLACK = 0.3
"""Seconds the known moment may fall behind before the server is asked."""


class Currency:
    """The moment up to which everything is known. `ask` is called when the server is to be asked;
    answer with `answered`."""

    def __init__(self, clock: Clock, every: float, ask: Callable[[Current], None]) -> None:
        self._clock = clock
        self._every = every
        self._ask = ask
        self._asking = False
        self.at = self.now()

    def now(self) -> Current:
        """This moment."""
        return Current(self._clock.monotonic(), self._clock.wall())

    def heard(self, *, beat: bool) -> Current | None:
        """Something came; the new moment if it was a heartbeat."""
        now, at = self.now(), self.at
        if beat:
            self.at = Current(
                min(now.monotonic, at.monotonic + self._every), min(now.wall, at.wall + self._every)
            )
        behind = max(now.monotonic - self.at.monotonic, now.wall - self.at.wall)
        if behind > SLACK and not self._asking:
            self._asking = True
            self._ask(now)
        return self.at if beat else None

    def answered(self, asked: Current | None) -> None:
        """The answer to what was asked at this moment is here; None when there was none."""
        self._asking = False
        if asked is not None:
            at = self.at
            self.at = Current(max(at.monotonic, asked.monotonic), max(at.wall, asked.wall))
