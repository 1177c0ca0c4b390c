"""How long one of many that wait for the same records holds back, so that few of them try for each.

Who wins one time in N holds back for up to N - 1 times what a hand-over takes: whatever N is, the
first of them all tries after about as long as one takes, and meanwhile few others have tried.
"""

import random

_MOST = 100
"""Others that are reckoned with."""

_LONGEST = 0.2
"""Seconds that nobody holds back for more than."""

_WEIGHT = 0.1
"""What the last time counts for."""


class Crowd:
    """What one process knows of the others by how often it wins."""

    def __init__(self, luck: random.Random) -> None:
        self._luck = luck
        self._won = 1.0
        self._took = 0.0

    @property
    def others(self) -> float:
        """How many others try for the same, about."""
        return min(_MOST, 1.0 / max(self._won, 1.0 / (_MOST + 1)) - 1.0)

    def delay(self) -> float:
        """Seconds to hold back this time."""
        return self._luck.uniform(0.0, min(_LONGEST, self.others * self._took))

    def lost(self) -> None:
        """Another got it this time."""
        self._won -= _WEIGHT * self._won

    def won(self, took: float) -> None:
        """It was ours this time, `took` seconds after it was asked for."""
        self._won += _WEIGHT * (1.0 - self._won)
        self._took += _WEIGHT * (took - self._took) if self._took else took
