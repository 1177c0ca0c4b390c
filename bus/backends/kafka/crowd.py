"""How long one of many that wait for the same records holds back, so that few of them try for each.

Who wins one time in N holds back for up to N - 1 times what a hand-over takes: whatever N is, the
first of them all tries after about as long as one takes, and meanwhile few others have tried.
"""

import random

_MOST = 100
"""Others that are reckoned with."""

_LONGEST = 0.1
"""Seconds that nobody holds back for more than."""

_WEIGHT = 0.1
"""What the last time counts for."""


_TOLD = 1000
"""Wins of which others are told after one of them has missed that."""

_COMPLAINTS = 50
"""Of so many times that nobody told one is complained of."""


class Crowd:
    """What one process knows of the others by how often it wins. `took`: seconds that it takes to
    try.

    Who wins every time takes itself for alone and tells nobody, until one that lost complains.
    """

    def __init__(self, luck: random.Random) -> None:
        self._luck = luck
        self._won = 1.0
        self._tells = 0
        self._untold = 0
        self.took = 0.0

    @property
    def others(self) -> float:
        """How many others try for the same, about."""
        return min(_MOST, 1.0 / max(self._won, 1.0 / (_MOST + 1)) - 1.0)

    @property
    def tells(self) -> bool:
        """Whether there is somebody to tell of what is taken."""
        return self._tells > 0 or self.others >= 1

    def complained(self) -> None:
        """Somebody has lost and was not told."""
        self._tells = _TOLD

    def complains(self) -> bool:
        """Whether to say this time that nobody told."""
        self._untold += 1
        return self._untold % _COMPLAINTS == 1

    def delay(self) -> float:
        """Seconds to hold back this time."""
        return self._luck.uniform(0.0, min(_LONGEST, self.others * self.took))

    def lost(self, took: float | None = None) -> None:
        """Another got it this time, `took` seconds after it was asked for, if it was."""
        self._won -= _WEIGHT * self._won
        if took is not None:
            self._take(took)

    def won(self, took: float) -> None:
        """It was ours this time, `took` seconds after it was asked for."""
        self._won += _WEIGHT * (1.0 - self._won)
        self._tells -= self._tells > 0
        self._take(took)

    def _take(self, took: float) -> None:
        self.took += _WEIGHT * (took - self.took) if self.took else took
