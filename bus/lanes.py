"""In what order tasks start: higher lanes first, ageing, fair turns between slices. Pure.

Nine of ten starts are the highest lane's that has something. The tenth is a lower lane's: of the
lower lanes that have something each is served in turn, with the oldest it has, so none starves.
Within a lane the slices are served in turn. *Starts* are counted, whatever a pull brings at once.
"""

import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from bus.backend import SLICES, Delivery, Lane, LaneName, Turn
from contracts.envelope import DEFAULT_TENANT

STARTS = 10
"""Of so many starts one goes to a lower lane."""

_ORDER = tuple(LaneName)
_RETRY = LaneName.RETRY


@lru_cache(maxsize=4096)
def slice_of(tenant: str) -> int:
    """The slice of a tenant, the same in every process and release; 0 where none is named."""
    return 0 if tenant == DEFAULT_TENANT else zlib.crc32(tenant.encode()) % SLICES


class Line:
    """Deliveries in hand that have not started, and which of them starts next."""

    def __init__(self) -> None:
        self.starts = 0
        self._length = 0
        self._lower = list(_ORDER[1:])
        self._lanes: dict[LaneName, dict[int, deque[Delivery]]] = {name: {} for name in _ORDER}

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Delivery]:
        for slices in self._lanes.values():
            for waiting in slices.values():
                yield from waiting

    def append(self, delivery: Delivery) -> None:
        """Let it wait behind what its slice has."""
        lane = delivery.message.lane
        slices = self._lanes[lane.name]
        waiting = slices.get(lane.slice)
        if waiting is None:
            waiting = slices[lane.slice] = deque()
        waiting.append(delivery)
        self._length += 1

    def extend(self, found: Iterable[Delivery]) -> None:
        """Let these wait."""
        for delivery in found:
            self.append(delivery)

    def count(self, name: LaneName) -> int:
        """How many of a lane wait."""
        return sum(map(len, self._lanes[name].values()))

    def remove(self, delivery: Delivery) -> bool:
        """Let one wait no longer; False if it did not."""
        lane = delivery.message.lane
        waiting = self._lanes[lane.name].get(lane.slice, deque())
        if delivery not in waiting:
            return False
        waiting.remove(delivery)
        self._length -= 1
        if not waiting:
            del self._lanes[lane.name][lane.slice]
        return True

    def clear(self) -> list[Delivery]:
        """Everything that waits; nothing waits any more."""
        found = list(self)
        for slices in self._lanes.values():
            slices.clear()
        self._length = 0
        return found

    def pop(self) -> Delivery:
        """The next to start; there must be one."""
        self.starts += 1
        self._length -= 1
        if self.starts >= STARTS:
            self.starts = 0
            return self._pop(self._lanes[self._tenth()])
        return self._pop(next(filter(None, self._lanes.values())))

    def _tenth(self) -> LaneName:
        """The lower lane whose turn it is, or the only one that has something."""
        filled = [name for name in _ORDER if self._lanes[name]]
        if len(filled) == 1:
            return filled[0]
        name = next(lower for lower in self._lower if lower in filled[1:])
        _go_last(self._lower, name)
        return name

    @staticmethod
    def _pop(slices: dict[int, deque[Delivery]]) -> Delivery:
        slice_, waiting = next(iter(slices.items()))
        found = waiting.popleft()
        if not waiting:
            del slices[slice_]
        elif len(slices) > 1:
            slices[slice_] = slices.pop(slice_)
        return found


class Puller:
    """What one member of a group asks for, pull by pull, so that its starts keep the order.

    Not for concurrent pulls: those still lose nothing, but may bring too few of a lower lane.
    """

    def __init__(self, slices: int = 1) -> None:
        self._slices = slices
        self._line = Line()
        self._lower = list(_ORDER[1:])
        self._next = dict.fromkeys(_ORDER, 0)
        self._full: LaneName | None = None
        self._retries = False
        self._behind = False
        self._asked = _Asked(0, 0, 0, ())

    def plan(self, limit: int, returning: int | None = None) -> list[Turn]:
        """The turns of a pull of `limit` starts, at most `returning` of them copies that come
        back; None for a pull that fills free places, which may take any.

        First comes what is due to the lower lanes. Which those are is told by the lane in which
        the last pull was full. As long as more copies come back than may be taken, nothing of the
        lanes below them is read ahead but what is due.
        """
        due = (self._line.starts + limit) // STARTS
        back = limit if returning is None else returning
        lower, names = self._below_full(), list(_ORDER)
        self._asked = _Asked(limit, due, back, tuple(lower))
        if returning is None:
            turns = [self._turn(lower, due)]
        else:
            turns = self._due_ahead(lower, due, back)
            back -= sum(turn.most for turn in turns[1:])
            names = names[:2] if self._behind else names
        turns += [self._turn([name], back if name is _RETRY else limit) for name in names]
        return [turn for turn in turns if turn.most and turn.lanes]

    def _due_ahead(self, lower: Sequence[LaneName], due: int, back: int) -> list[Turn]:
        """What is due to the lower lanes when it is read ahead: of what comes back one to see
        whether there is something, then half, at most `back`; the rest to the others."""
        few = 0
        if _RETRY in lower and due:
            few = min(back, max(1, due // 2 if self._retries else 1))
        others = self._turn([name for name in lower if name is not _RETRY], due - few)
        return [others, self._turn([_RETRY], few)]

    def note(self, found: Sequence[Delivery]) -> None:
        """This is what the planned pull brought, in the order of its turns."""
        limit, due, back, lower = self._asked
        names = [delivery.message.lane.name for delivery in found]
        aged = next((i for i, n in enumerate(names[:due]) if n not in lower), len(names[:due]))
        if aged:
            _go_last(self._lower, names[0])
        if len(found) < limit:
            self._full = None
        elif names[aged:]:
            self._full = names[-1]
        if back:
            self._retries = _RETRY in names
            self._behind = names.count(_RETRY) >= back
        if self._slices > 1:
            for delivery in reversed(found):
                lane = delivery.message.lane
                self._next[lane.name] = (lane.slice + 1) % self._slices

    def order(self, found: Sequence[Delivery]) -> list[Delivery]:
        """Deliveries in the order in which they are to start, which is counted."""
        line = self._line
        lanes = {id(delivery.message.lane): delivery.message.lane for delivery in found}
        if len(lanes) < 2 or len(set(lanes.values())) < 2:
            line.starts = (line.starts + len(found)) % STARTS
            return list(found)
        line.extend(found)
        return [line.pop() for _ in found]

    def _below_full(self) -> list[LaneName]:
        """The lanes below the one that is full, in the order of their turns; all that can be
        lower where that is not known, or nothing is below."""
        full = _ORDER.index(self._full) if self._full is not None else 0
        below = _ORDER[full + 1 :] or _ORDER[1:]
        return [name for name in self._lower if name in below]

    def _turn(self, names: Iterable[LaneName], most: int) -> Turn:
        """A turn of all slices of these lanes, each from the one after that which was first in the
        last pull."""
        count = self._slices
        return Turn(
            tuple(Lane(n, (self._next[n] + i) % count) for n in names for i in range(count)), most
        )


def _go_last(names: list[LaneName], name: LaneName) -> None:
    """It had its turn: it is the last to have the next."""
    names.remove(name)
    names.append(name)


class _Asked(NamedTuple):
    """The last plan: its limit, what was due to `lower`, copies that might come back."""

    limit: int
    due: int
    back: int
    lower: tuple[LaneName, ...]
