"""The clock a leader stamps its entries with."""


class LeaderClock:
    """Begins where the log left off, and moves by the time that passed since, never back.

    `last` is the highest stamp of the log when the leader began its term, `tick_ms` how often
    `pass_time` is meant to be called. A node that was frozen, or whose source jumps, moves it by
    two ticks at most for each call: leases grow by what is left out, and none is cut short.
    """

    def __init__(self, last: int, tick_ms: int) -> None:
        self._now = last
        self._most = 2 * tick_ms

    @property
    def now(self) -> int:
        """Milliseconds; what the next entry is stamped with."""
        return self._now

    def pass_time(self, elapsed_ms: int) -> int:
        """So much has passed on this machine since the last call."""
        self._now += min(max(0, elapsed_ms), self._most)
        return self._now
