"""When a broker counts as full, and what is said then: the same on every broker. Pure."""

from collections.abc import Mapping

from bus.backend import Lag, Lane
from bus.errors import Full

MAX_BYTES = 10_000_000_000
"""What the tasks of a fleet may fill when nobody has said otherwise."""

SHARE = 0.9
"""The part of its room that publishing may fill. Draining lives of the rest: retries, hand-backs
and events need some before what they replace is gone."""

FOLLOW_UPS = 0.97
"""The part that runs under way may fill with what they publish: else a broker that is full of
tasks which publish others would wait for itself."""

AGAIN = 1.0
"""Seconds after which it may be useful to publish again."""


def fits(used: int, size: int, limit: int, *, follow_up: bool) -> bool:
    """Whether publishing `size` more bytes leaves the room that draining needs."""
    return used + size <= limit * (FOLLOW_UPS if follow_up else SHARE)


def full(used: int, size: int, limit: int, lags: Mapping[str, Mapping[Lane, Lag]]) -> Full:
    """The error for `size` bytes that do not fit; it names the group that has most to do."""
    return Full(
        f"the broker is full: {used:,} of {limit:,} bytes are in use",
        details=f"{size:,} more would take what draining needs; {_most(lags)}",
        actions=("start more workers of that role", "or raise bus.max_bytes"),
        retry_after=AGAIN,
    )


def _most(lags: Mapping[str, Mapping[Lane, Lag]]) -> str:
    counts = {group: sum(map(_count, lanes.values())) for group, lanes in lags.items()}
    slowest = max(counts, key=counts.__getitem__, default=None)
    if slowest is None or not counts[slowest]:
        return "nothing waits: what is done is being removed"
    return f"most waits for {slowest}: {counts[slowest]:,}"


def _count(lag: Lag) -> int:
    return sum(number or 0 for number in (lag.waiting, lag.delayed, lag.leased))
