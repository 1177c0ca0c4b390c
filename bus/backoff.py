"""How long to wait before trying again."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter: uniform in [0, min(cap, base · 2^tries)] seconds.

    Full jitter spreads the retries of many at once best; source: M. Brooker, "Exponential
    Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    base: float = 1.0
    cap: float = 300.0

    def ceiling(self, tries: int) -> float:
        """The longest wait after `tries` earlier tries (0 before the first retry), in seconds."""
        return min(self.cap, self.base * 2.0 ** min(tries, 60))

    def delay(self, tries: int, rng: random.Random) -> float:
        """A wait drawn for the retry that follows `tries` earlier tries, in seconds."""
        return rng.uniform(0.0, self.ceiling(tries))
