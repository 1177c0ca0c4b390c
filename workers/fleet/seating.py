"""What one machine does about the seats of one role: pure.

A role that wants N processes has the seats 0 to N - 1. Whoever holds a seat runs one process.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moves:
    """`give`: seats whose processes drain. `renumber`: a process keeps running in another seat.
    `take`: seats that are free, for processes to be started. `surplus`: whether more is held than
    is our share, which others are to have once that has lasted."""

    give: tuple[int, ...] = ()
    renumber: tuple[tuple[int, int], ...] = ()
    take: tuple[int, ...] = ()
    surplus: bool = False


@dataclass(frozen=True, slots=True)
class Hall:
    """The seats of one role. `taken`: those that living machines hold, ours among them. `mine`:
    ours, those whose processes are to go first at the end."""

    total: int
    taken: Set[int]
    mine: Sequence[int]


def moves(hall: Hall, share: int, *, settled: bool) -> Moves:
    """What to do when `share` processes are ours. `settled`: whether a surplus has lasted long
    enough not to come from machines that see different things for a moment."""
    beyond = [seat for seat in hall.mine if seat >= hall.total]
    extra = max(0, len(hall.mine) - share)
    give = beyond[::-1][:extra]
    if settled:
        rest = [seat for seat in hall.mine if seat not in give]
        give += rest[::-1][: extra - len(give)]
    free = [seat for seat in range(hall.total) if seat not in hall.taken]
    stay = [seat for seat in beyond if seat not in give]
    renumber = tuple(zip(stay, free, strict=False))
    missing = max(0, share - len(hall.mine))
    take = free[len(renumber) :][:missing]
    return Moves(tuple(give), renumber, tuple(take), surplus=extra > len(give))


def by_role(seats: Mapping[tuple[str, int], str]) -> dict[str, dict[int, str]]:
    """Who holds which seat, role by role."""
    found: dict[str, dict[int, str]] = {}
    for (role, number), holder in seats.items():
        found.setdefault(role, {})[number] = holder
    return found
