"""What was read of a group's log and not handed over yet. Pure.

The log never changes, so what was read stays true however long it lies here; where hand-overs stand
is asked before each pull.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from bus.backends.kafka.log import Found
from bus.backends.kafka.records import Logged

KEPT = 5000
"""Records kept of a partition at most."""

_FEW = 400
_FEW_BYTES = 256 * 1024
"""Of a partition, which then is read on while these are worked on."""


class Stretch:
    """Everything that lies in one partition from `base` up to `upto`."""

    __slots__ = ("base", "records", "upto")

    def __init__(self, base: int) -> None:
        self.base = base
        self.upto = base
        self.records: list[Logged] = []

    def add(self, records: Sequence[Logged], upto: int) -> None:
        """What follows on `upto`, and up to where that is everything."""
        self.records = [*self.records, *records]
        self.upto = max(self.upto, upto, *(each.offset + 1 for each in self.records[-1:]))
        if len(self.records) > KEPT:
            self.upto = self.records[KEPT].offset
            del self.records[KEPT:]

    def begin(self, place: int) -> None:
        """Let go of what lies below `place`."""
        del self.records[: bisect_left(self.records, place, key=lambda each: each.offset)]
        self.base = place


class Shelf:
    """Read records of one group, by partition."""

    def __init__(self) -> None:
        self._ends: dict[int, int] = {}
        self._stretches: dict[int, Stretch] = {}
        self._jumps: dict[int, tuple[int, int]] = {}

    def put(self, asked: Mapping[int, int], found: Mapping[int, Found]) -> None:
        """Keep what was found at the places asked for. Where there is nothing any more, or yet,
        go on at the oldest there is."""
        for part, each in found.items():
            self._ends[part] = max(each.end, self._ends.get(part, 0))
            if each.gone:
                self._jumps[part] = (asked[part], each.start)
                self._stretches[part] = Stretch(each.start)
                continue
            stretch = self._stretches.get(part)
            reach = max(each.upto, *(r.offset + 1 for r in each.records[-1:]), 0)
            if stretch is not None and reach <= stretch.upto:
                continue  # another has read it meanwhile
            if stretch is None or not stretch.base <= asked[part] <= stretch.upto:
                stretch = self._stretches[part] = Stretch(asked[part])
            stretch.add([r for r in each.records if r.offset >= stretch.upto], each.upto)

    def waiting(self, part: int, next_: int) -> Sequence[Logged]:
        """What is here of a partition from where its hand-overs stand."""
        return self._at(part, next_).records

    def missing(self, part: int, next_: int) -> int | None:
        """From where on to read a partition that is known to reach further than what is here,
        when nothing is left here; else None."""
        stretch = self._at(part, next_)
        known = self._ends.get(part, 0)
        return stretch.upto if not stretch.records and stretch.upto < known else None

    def low(self, part: int, next_: int) -> bool:
        """Whether so little is here that more should be read before it is missed."""
        records = self._at(part, next_).records
        return len(records) < _FEW and sum(each.size for each in records) < _FEW_BYTES

    def place(self, part: int, next_: int) -> int:
        """From where on to read a partition to see whether there is more than is known of."""
        return self._at(part, next_).upto

    def _at(self, part: int, next_: int) -> Stretch:
        jump = self._jumps.get(part)
        place = jump[1] if jump is not None and jump[0] == next_ else next_
        stretch = self._stretches.get(part)
        if stretch is None or not stretch.base <= place <= stretch.upto:
            stretch = self._stretches[part] = Stretch(place)
        stretch.begin(place)
        return stretch
