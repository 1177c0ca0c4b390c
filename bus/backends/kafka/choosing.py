"""What a pull takes of what is there: turn by turn, rows before records. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bus.backend import Lane, Turn
from bus.backends.kafka.records import Logged
from bus.turns import share_out


@dataclass(slots=True)
class Waiting:
    """What lies in one lane: rows by slice, and the records of each partition."""

    rows: dict[int, int] = field(default_factory=dict)
    parts: dict[int, Sequence[Logged]] = field(default_factory=dict)
    taken: dict[int, int] = field(default_factory=dict)

    def count(self) -> int:
        """How many can still be taken."""
        logged = sum(len(found) - self.taken.get(p, 0) for p, found in self.parts.items())
        return sum(self.rows.values()) + logged


@dataclass(frozen=True, slots=True)
class Choice:
    """A lane's share of a turn: how many rows of which slices, and which records."""

    lane: Lane
    rows: Mapping[int, int]
    records: Sequence[Logged]


def choose(turns: Sequence[Turn], limit: int, waiting: Mapping[Lane, Waiting]) -> list[Choice]:
    """Who gives what, in the order in which it was asked for, `limit` at most."""
    chosen: list[Choice] = []
    left = limit
    for turn in turns:
        counts = [waiting[lane].count() for lane in turn.lanes]
        for lane, most in zip(turn.lanes, share_out(counts, min(turn.most, left)), strict=True):
            if most:
                chosen.append(_take(lane, waiting[lane], most))
                left -= most
    return chosen


def _take(lane: Lane, here: Waiting, most: int) -> Choice:
    rows: dict[int, int] = {}
    for slice_, count in here.rows.items():
        rows[slice_] = min(count, most)
        here.rows[slice_] -= rows[slice_]
        most -= rows[slice_]
    records: list[Logged] = []
    for part, found in here.parts.items():
        start = here.taken.get(part, 0)
        more = found[start : start + most]
        here.taken[part] = start + len(more)
        records += more
        most -= len(more)
    return Choice(lane, {slice_: count for slice_, count in rows.items() if count}, records)
