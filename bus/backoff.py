"""How long to wait before trying again."""

import random
from dataclasses import dataclass
from math import log2


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff: uniform in [(1 - jitter) · w, w], w = min(cap, base · factor^tries)
    seconds.

    The default is full jitter, which spreads the retries of many at once best; source: M. Brooker,
    "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. Without jitter all come at once.
    """

    base: float = 1.0
    cap: float = 300.0
    factor: float = 2.0
    jitter: float = 1.0

    def ceiling(self, tries: int) -> float:
        """The longest wait after `tries` earlier tries (0 before the first retry), in seconds."""
        power = tries * log2(self.factor)
        return min(self.cap, self.base * float(2.0 ** min(power, 60.0)))

    def delay(self, tries: int, rng: random.Random) -> float:
        """A wait drawn for the retry that follows `tries` earlier tries, in seconds."""
        longest = self.ceiling(tries)
        return rng.uniform((1.0 - self.jitter) * longest, longest)
