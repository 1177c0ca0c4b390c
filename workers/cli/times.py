"""Durations and moments as people write them."""

import re
from datetime import UTC, datetime, tzinfo

from workers.cli.errors import WrongUsage

_DURATION = re.compile(r"([+-]?\d+(?:\.\d+)?)(ms|s|m|h|d)?\Z")
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?)?\Z", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_EPOCH = 1e9
"""A number from here on is a moment (after 2001), below it a duration (under 32 years)."""


def seconds(text: str, option: str) -> float:
    """The duration in `90`, `90s`, `5m`, `2h`, `1d` or `250ms`, in seconds."""
    found = _DURATION.match(text.strip())
    if found is None:
        raise _wrong(text, option, "a duration")
    return float(found[1]) * _SECONDS[found[2] or "s"]


def some_time(text: str, option: str, *, why: str, such_as: str) -> float:
    """As `seconds`, but more than none; `why` says what the option counts."""
    found = seconds(text, option)
    if found <= 0:
        raise WrongUsage(
            f"{option} cannot be {text!r}",
            details=why,
            actions=(f"give more than 0, such as {such_as}",),
        )
    return found


def moment(text: str, option: str, *, now: float) -> float:
    """The UTC epoch second meant by a duration from `now` on, an ISO 8601 time (of the local zone
    unless it names one) or an epoch second."""
    found = _DURATION.match(text.strip())
    if found is not None:
        number = seconds(text, option)
        return number if not found[2] and number >= _EPOCH else now + number
    try:
        return datetime.fromisoformat(text.strip()).astimezone().timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise _no_time(text, option, error) from error


def moment_in(text: str, option: str, zone: tzinfo, *, now: float) -> float:
    """As `moment`, but an ISO time that names no zone is one of `zone`; one that a change of the
    clock leaves out there is refused, of one that comes twice the first is meant."""
    if _DURATION.match(text.strip()) is not None:
        return moment(text, option, now=now)
    try:
        found = datetime.fromisoformat(text.strip())
        if found.tzinfo is not None:
            return found.timestamp()
        found = found.replace(tzinfo=zone)
        again = found.astimezone(UTC).astimezone(zone)
    except (ValueError, OverflowError, OSError) as error:
        raise _no_time(text, option, error) from error
    if again.replace(tzinfo=None) != found.replace(tzinfo=None):
        raise WrongUsage(
            f"{option} cannot be {text!r}",
            details=f"the clock in {zone} leaves that time out",
            actions=("give an earlier or a later time",),
        )
    return found.timestamp()


def past(text: str, option: str, *, now: float) -> float:
    """The UTC epoch second meant by a duration before `now`, or by a time as in `moment`."""
    found = _DURATION.match(text.strip())
    if found is None or (not found[2] and float(found[1]) >= _EPOCH):
        return moment(text, option, now=now)
    ago = seconds(text, option)
    if ago < 0:
        raise _wrong(text, option, "an age from 0 on")
    return now - ago


def _no_time(text: str, option: str, error: Exception) -> WrongUsage:
    if not _DATE.match(text.strip()):
        return _wrong(text, option, "neither a duration nor a time")
    return WrongUsage(
        f"{option} cannot be {text!r}",
        details=f"there is no such time: {error}",
        actions=("give a day and an hour that exist",),
    )


def _wrong(text: str, option: str, what: str) -> WrongUsage:
    return WrongUsage(
        f"{option} cannot be {text!r}",
        details=f"it is not {what}" if what.startswith(("a ", "an ")) else f"it is {what}",
        actions=("write 90, 90s, 5m, 2h or 1d; a time as 2030-01-31T08:00:00+00:00",),
    )


def clock_time(at: float) -> str:
    """An epoch second as the local time with its zone."""
    return datetime.fromtimestamp(at).astimezone().isoformat(sep=" ", timespec="milliseconds")


def ago(age: float) -> str:
    """An age in seconds, for a table."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("m", 60.0)):
        if age >= 2 * size:
            return f"{age / size:.0f}{unit}"
    return f"{max(0.0, age):.0f}s"


def iso(moment: float, zone: str) -> str:
    """A moment as people in `zone` write it, to the second."""
    from knowledge.schedules.ticks import zone_of

    return datetime.fromtimestamp(moment, zone_of(zone)).isoformat(sep=" ", timespec="seconds")
