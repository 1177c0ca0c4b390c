"""When a schedule ticks, and which ticks are fired late, once or not at all. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from contracts.errors import InvalidValue
from contracts.topics import near

LATE = 5.0
"""Seconds after which a tick that was not fired counts as missed."""

MOST = 100
"""Ticks of one schedule that are fired together; the others follow at once."""

_WINDOWS = (60.0, 3600.0, 86_400.0, 32 * 86_400.0, 400 * 86_400.0)
"""Seconds before a moment in which its last tick is looked for, one after the other."""

_NAMES = MappingProxyType(
    {
        "@hourly": "0 * * * *",
        "@daily": "0 0 * * *",
        "@midnight": "0 0 * * *",
        "@weekly": "0 0 * * 0",
        "@monthly": "0 0 1 * *",
        "@yearly": "0 0 1 1 *",
        "@annually": "0 0 1 1 *",
    }
)
"""As crontab(5) has them."""


_FIELDS = ("second", "minute", "hour", "day-of-month", "month", "day-of-week")
"""As the library that reads them calls them."""


class Misfire(StrEnum):
    """What becomes of missed ticks: nothing; one task for all of them; each its task."""

    SKIP = "skip"
    ONCE = "once"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Timing:
    """When a schedule ticks: by `cron`, of five fields or six with seconds before them, in the time
    zone `zone`; or once, `at` an epoch second. `timing` checks what it is made of.

    In an hour that a change of the clock leaves out, what is due at given times fires right after
    it; in one that comes twice it fires the first time only. What is due at every so many minutes
    or hours goes by the time that passes. (As in Debian's cron(8), for five fields.)
    """

    cron: str | None
    at: float | None
    zone: str

    def after(self, moment: float) -> float | None:
        """The first tick after `moment`, None if there is none within fifty years."""
        if self.cron is None:
            return self.at if self.at is not None and self.at > moment else None
        start = datetime.fromtimestamp(moment, zone_of(self.zone))
        for found in CronSim(_NAMES.get(self.cron, self.cron), start):
            if found.timestamp() > moment:  # an hour that comes twice is found again from within
                return found.timestamp()
        return None

    def upto(self, tick: float, now: float) -> Iterator[float]:
        """`tick`, and those after it, up to `now`."""
        coming: float | None = tick
        while coming is not None and coming <= now:
            yield coming
            coming = self.after(coming)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about a schedule now: ticks to fire, in order; the one that is next; whether any
    was missed."""

    fire: tuple[float, ...]
    next: float | None
    missed: bool = False


def plan(timing: Timing, tick: float, misfire: Misfire, now: float) -> Plan:
    """What to do at `now` about a schedule whose next tick is `tick`. At most `MOST` fire."""
    missed = tick < now - LATE
    if missed and misfire is Misfire.ONCE:
        fire: tuple[float, ...] = (_latest(timing, tick, now),)
    elif missed and misfire is Misfire.SKIP:
        first = timing.after(now - LATE)
        if first is None or first > now:
            return Plan((), first, missed)
        fire = tuple(timing.upto(first, now))
    else:
        ticks = timing.upto(tick, now)
        fire = tuple(found for found, _ in zip(ticks, range(MOST), strict=False))
    return Plan(fire, timing.after(fire[-1]) if fire else tick, missed)


def _latest(timing: Timing, tick: float, now: float) -> float:
    """The last tick from `tick` on up to `now`."""
    for window in _WINDOWS:
        first = timing.after(now - window)
        if first is not None and tick <= first <= now:
            return max(timing.upto(first, now))
    return max(timing.upto(tick, now))


def timing(*, cron: str | None, at: float | None, zone: str, now: float) -> Timing:
    """Of exactly one of `cron` and `at`, which is to tick after `now`. Raises `InvalidValue` that
    names what is wrong."""
    zone_of(zone)
    if cron is None:
        return Timing(None, at, zone)
    words = " ".join(cron.split())
    found = Timing(words.lower() if words.startswith("@") else words, None, zone)
    _checked(words, lambda: found.after(now))
    return found


def _checked(cron: str, first: Callable[[], float | None]) -> None:
    try:
        never = first() is None
    except (CronSimError, ValueError, TypeError, AssertionError) as error:
        raise _bad_cron(cron, _said(cron, error)) from error
    if never:
        raise _bad_cron(cron, "no such moment comes within fifty years")


def _said(cron: str, error: Exception) -> str:
    """What the library has against it, with what stands in that field."""
    said = str(error) or "a field cannot be read"
    name, fields = said.removeprefix("Bad "), cron.split()
    if name not in _FIELDS or not 5 <= len(fields) <= len(_FIELDS):
        return said[0].lower() + said[1:]
    named = dict(zip(_FIELDS[-len(fields) :], fields, strict=True))
    month = named["month"] if name == "day-of-month" else "*"
    return f"its {name} cannot be {named[name]!r}" + (f" in month {month}" if month != "*" else "")


def _bad_cron(cron: str, why: str) -> InvalidValue:
    return InvalidValue(
        f"{cron!r} is not a cron expression",
        details=why,
        actions=(
            "write MINUTE HOUR DAY MONTH WEEKDAY, such as '30 8 * * MON-FRI'",
            "with seconds as a sixth field in front",
        ),
    )


@lru_cache(maxsize=512)
def zone_of(name: str) -> tzinfo:
    """The time zone of an IANA name. Raises `InvalidValue` that names the nearest."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        close = near(name, available_timezones(), limit=2)
        raise InvalidValue(
            f"{name[:60]!r} is not a time zone",
            details=f"did you mean {' or '.join(close)}?" if close else "none is like it",
            actions=("write a name of the IANA list, such as Europe/Berlin or UTC",),
        ) from error
