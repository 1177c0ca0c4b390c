"""How many processes of a role are wanted: a number, or between two as the work asks for."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from contracts.errors import InvalidValue

MOST = 1000
"""Processes of one role in a fleet."""

_AUTO = re.compile(r"auto:(\d{1,9})\.\.(\d{1,9})\Z", re.ASCII)
_NUMBER = re.compile(r"\d{1,9}\Z", re.ASCII)

_Count = Annotated[int, Field(ge=0, le=MOST)]


class Range(BaseModel):
    """Between `min` and `max`, as the work asks for. `queue_depth`: at most so many tasks shall
    wait per process; None leaves it to how long runs take."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    min: _Count = 1
    max: Annotated[int, Field(ge=1, le=MOST)]
    queue_depth: Annotated[int, Field(ge=1, le=10_000_000)] | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min is {self.min}, which is more than max, {self.max}")
        return self

    def __str__(self) -> str:
        return f"auto:{self.min}..{self.max}"

    def clip(self, count: int) -> int:
        """The nearest number that lies within."""
        return max(self.min, min(self.max, count))


def _checked(value: Any) -> Any:
    """A mapping is a range, anything else a number: an error names what is wrong with that one."""
    if isinstance(value, Mapping):
        try:
            return Range(**value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            why = first["msg"].removeprefix("Value error, ")
            raise ValueError(f"{where}: {why}" if where else why) from error
    if isinstance(value, Range) or (type(value) is int and 0 <= value <= MOST):
        return value
    raise ValueError(f"it is no number from 0 to {MOST}, and no {{ min = 1, max = 8 }}")


Replicas = Annotated[int | Range, BeforeValidator(_checked)]


def parse(text: str, *, queue_depth: int | None = None) -> int | Range:
    """`4` or `auto:1..8`, as people write it; `queue_depth` belongs to the second. Raises
    `InvalidValue`."""
    if _NUMBER.match(text) and queue_depth is None:
        if int(text) > MOST:
            raise _wrong(text, f"a role has at most {MOST} processes in a fleet")
        return int(text)
    found = _AUTO.match(text)
    if found is None:
        also = " with a queue depth" if queue_depth is not None else ""
        raise _wrong(text, f"it is no number from 0 to {MOST} and no auto:MIN..MAX{also}")
    least, most = int(found[1]), int(found[2])
    if most > MOST:
        raise _wrong(text, f"a role has at most {MOST} processes in a fleet")
    if most < 1 or least > most:
        raise _wrong(text, f"between {least} and {most} there is no number of processes to choose")
    return Range(min=least, max=most, queue_depth=queue_depth)


def strongest(offers: list[int | Range]) -> int | Range:
    """What holds where machines were told different things: the greatest, a range before a
    number. Every machine comes to the same."""

    def strength(one: int | Range) -> tuple[bool, int, int, int]:
        if isinstance(one, Range):
            return True, one.max, one.min, -(one.queue_depth or 0)
        return False, one, one, 0

    return max(offers, key=strength)


def _wrong(text: str, why: str) -> InvalidValue:
    return InvalidValue(
        f"{text[:40]!r} is not a number of processes",
        details=why,
        actions=(f"write a number from 0 to {MOST}, or auto:1..8",),
    )
