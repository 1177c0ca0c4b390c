"""Sharing out what one pull may take: turns and the lanes in them. Pure."""

from collections.abc import Iterable, Sequence

from bus.backend import Lane, Turn


def turns_of(lanes: Sequence[Lane | Turn], limit: int) -> list[Turn]:
    """The turns of a pull: a lane named alone may take up to `limit`."""
    return [each if isinstance(each, Turn) else Turn((each,), limit) for each in lanes]


def named(lanes: Sequence[Lane | Turn]) -> tuple[Lane, ...]:
    """Every lane of a pull, once."""
    found = (each.lanes if isinstance(each, Turn) else (each,) for each in lanes)
    return tuple(dict.fromkeys(lane for lanes in found for lane in lanes))


def even(most: int, count: int) -> list[int]:
    """`most` in `count` parts that differ by one at most, the greater ones first."""
    part, over = divmod(most, count)
    return [part + (number < over) for number in range(count)]


def share_out(waiting: Iterable[int], most: int) -> list[int]:
    """How many of `most` each lane gives in which so many wait: max-min fair."""
    left = list(waiting)
    given = [0] * len(left)
    while most > 0 and (hungry := [i for i, count in enumerate(left) if count]):
        part = most // len(hungry)
        parts = [part] * len(hungry) if part else even(most, len(hungry))
        for i, part in zip(hungry, parts, strict=True):
            got = min(part, left[i])
            given[i] += got
            left[i] -= got
            most -= got
    return given
