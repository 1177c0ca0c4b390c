"""Limits as people write them: so many per time, so many at once, and for whom."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from contracts.errors import InvalidValue

_UNITS: Mapping[str, float] = MappingProxyType(
    {
        **dict.fromkeys(("s", "sec", "second"), 1.0),
        **dict.fromkeys(("m", "min", "minute"), 60.0),
        **dict.fromkeys(("h", "hour"), 3600.0),
        **dict.fromkeys(("d", "day"), 86_400.0),
    }
)
_RATE = re.compile(r"\s*([0-9]{1,9})\s*/\s*([0-9]{0,6})\s*([a-z]+)\s*\Z")
_FIELD = re.compile(r"payload(\.[A-Za-z_][A-Za-z0-9_]*)+\Z")


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` in any `seconds`."""

    count: int
    seconds: float

    @property
    def interval(self) -> float:
        """Seconds between two, evenly spread."""
        return self.seconds / self.count


def parse_rate(text: str) -> Rate:
    """The rate in `10/s`, `100/min`, `5/30s`, `10000/day`; raises `InvalidValue`."""
    found = _RATE.match(text)
    if found is not None:
        count, times, unit = int(found[1]), int(found[2] or 1), _UNITS.get(found[3])
        if count and times and unit:
            return Rate(count, times * unit)
    raise InvalidValue(
        f"{text[:40]!r} is not a rate",
        details="a rate is a whole number from 1 on per s, min, hour or day",
        actions=("write it as 10/s, 100/min, 5/30s or 10000/day",),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How often tasks of a role may start, and how many may run at once, over the whole fleet.

    `rate` such as `10/s`; up to `burst` of them start at once after a pause. `concurrency`: runs
    at the same moment. `by` says what shares the limit: `role` (all tasks of the role), `tenant`
    (those of one tenant), or a field of the payload by its dotted path, such as
    `payload.customer` (those with the same value there; tasks without the field share one
    limit). Raises `InvalidValue`.
    """

    rate: str | None = None
    burst: int = 1
    concurrency: int | None = None
    by: str = "role"

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.rate is None and self.concurrency is None:
            raise _invalid("it limits nothing", "give it a rate, a concurrency, or both")
        if self.rate is not None:
            parse_rate(self.rate)
        elif self.burst != 1:
            raise _invalid(f"burst={self.burst!r} without a rate", "a burst belongs to a rate")
        for name, number in (("burst", self.burst), ("concurrency", self.concurrency)):
            if number is not None and (isinstance(number, bool) or not number > 0):
                raise _invalid(f"{name}={number!r}", "give a whole number from 1 on")
        if self.by not in {"role", "tenant"} and not _FIELD.match(self.by):
            raise _invalid(f"by={self.by!r}", 'use "role", "tenant" or such as "payload.customer"')

    @property
    def text(self) -> str:
        """As a person reads it: `10/s, at most 3 at once, by tenant`."""
        burst = f" in bursts of {self.burst}" if self.burst > 1 else ""
        rate = f"{self.rate}{burst}" if self.rate is not None else ""
        running = f"at most {self.concurrency} at once" if self.concurrency is not None else ""
        by = f"by {self.by}" if self.by != "role" else ""
        return ", ".join(filter(None, (rate, running, by)))

    @property
    def path(self) -> tuple[str, ...]:
        """The words that lead to the field of the payload it goes by; none if it does not."""
        return tuple(self.by.split(".")[1:]) if self.by.startswith("payload.") else ()


NO_LIMITS: Mapping[str, Limit] = MappingProxyType({})
"""No tenant is limited."""


def _invalid(why: str, action: str) -> InvalidValue:
    return InvalidValue("a limit cannot be used", details=why, actions=(action,))
