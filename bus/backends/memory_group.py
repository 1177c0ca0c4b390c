"""What the in-memory broker keeps for one group: its lanes, delayed messages and leases.

No clock, no lock, no error: `bus.backends.memory` calls it with the time, one call at a time.
"""

import heapq
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping, Sequence
from math import inf

from bus.backend import Delivery, Lag, Lane, LaneName, Message, Turn
from bus.turns import share_out, turns_of
from bus.waking import Bell, ring


def size_of(message: Message) -> int:
    """The bytes that a message takes."""
    headers = sum(len(name) + len(value) for name, value in message.headers.items())
    return len(message.body) + headers


class Item:
    """A message as it lies in one group; `handed` counts hand-overs nobody answered."""

    __slots__ = ("handed", "lane", "message")

    def __init__(self, message: Message, slices: int = 1) -> None:
        self.message = message
        self.lane = Lane(message.lane.name, message.lane.slice % slices)
        self.handed = 0


class Lease:
    """The receipt of one hand-over: good while it is the group's and `until` lies ahead."""

    __slots__ = ("group", "item", "until")

    def __init__(self, group: "Group", item: Item, until: float) -> None:
        self.group = group
        self.item = item
        self.until = until


class Group:
    """Everything accepted for one group and not settled, and who waits for more.

    All leases are equally long, so that the order in which they were begun or renewed is the
    order in which they end: an ordered dict is their queue, a renewal is a move to its end.
    """

    def __init__(self, name: str, patterns: Sequence[str], slices: int = 1) -> None:
        self.name = name
        self.patterns = tuple(patterns)
        self._slices = slices
        lanes = [Lane(lane, slice_) for lane in LaneName for slice_ in range(slices)]
        self._lanes: dict[Lane, deque[Item]] = {lane: deque() for lane in lanes}
        self._delayed: list[tuple[float, int, Item]] = []
        self._delayed_in: Counter[Lane] = Counter()
        self._leases: OrderedDict[Lease, None] = OrderedDict()
        self._leased_in: Counter[Lane] = Counter()
        self._bells: dict[Bell, Sequence[Lane]] = {}
        self._count = 0
        self.bytes = 0

    def add(self, message: Message, wall: float) -> None:
        """Keep `message` in its lane, out of sight until due. Then `call` those that wait."""
        item, due = Item(message, self._slices), message.due
        self.bytes += size_of(message)
        if due <= wall:
            self._lane(item.lane).append(item)
            return
        if not self._delayed or due < self._delayed[0][0]:
            self.call_all()
        self._count += 1
        heapq.heappush(self._delayed, (due, self._count, item))
        self._delayed_in[item.lane] += 1

    def ripen(self, wall: float, mono: float) -> None:
        """Move what is due, and what a holder has lost, to where it can be taken."""
        while self._delayed and self._delayed[0][0] <= wall:
            item = heapq.heappop(self._delayed)[2]
            self._delayed_in[item.lane] -= 1
            self._lane(item.lane).append(item)
        lost = []
        for lease in self._leases:
            if lease.until > mono:
                break
            lost.append(lease)
        for lease in reversed(lost):
            self._end(lease)
            lease.item.handed += 1
            self._lane(lease.item.lane).appendleft(lease.item)

    def take(self, lanes: Sequence[Lane | Turn], limit: int, until: float) -> list[Delivery]:
        """Up to `limit` messages, those of earlier turns first, leased `until` that time."""
        taken: list[Delivery] = []
        for turn in turns_of(lanes, limit):
            waiting = [self._lanes.get(lane, ()) for lane in turn.lanes]
            room = min(turn.most, limit - len(taken))
            for lane, part in zip(turn.lanes, share_out(map(len, waiting), room), strict=True):
                taken += [self._hand_over(lane, until) for _ in range(part)]
        return taken

    def _hand_over(self, lane: Lane, until: float) -> Delivery:
        lease = Lease(self, self._lanes[lane].popleft(), until)
        self._leases[lease] = None
        self._leased_in[lane] += 1
        return Delivery(lease.item.message, self.name, lease.item.handed, lease)

    def owns(self, lease: Lease, mono: float) -> bool:
        """Whether `lease` still holds its message."""
        return lease in self._leases and lease.until > mono

    def renew(self, lease: Lease, until: float) -> None:
        """Let a lease that is owned end at `until`, which no other lease outlasts."""
        lease.until = until
        self._leases.move_to_end(lease)

    def forget(self, lease: Lease) -> None:
        """The message of `lease` is done with; nothing happens if the lease is not known."""
        if lease in self._leases:
            self._end(lease)
            self.bytes -= size_of(lease.item.message)

    def change_in(self, wall: float, mono: float) -> float:
        """Seconds until `ripen` has something to do, as far as is known now."""
        due = self._delayed[0][0] - wall if self._delayed else inf
        lease = next(iter(self._leases), None)
        return max(0.0, min(due, lease.until - mono if lease else inf))

    def wait(self, bell: Bell, lanes: Sequence[Lane]) -> None:
        """Ring `bell` when one of `lanes` may have something."""
        self._bells[bell] = lanes

    def leave(self, bell: Bell) -> None:
        """Whoever waited at `bell` does so no longer; what it was rung for is offered on."""
        self._bells.pop(bell, None)
        self.call()

    def call(self) -> None:
        """Ring the first that waits for a lane with something in it; who is rung calls on."""
        for bell, lanes in self._bells.items():
            if any(self._lanes.get(lane) for lane in lanes):
                del self._bells[bell]
                ring(bell)
                return

    def call_all(self) -> None:
        """Ring everybody: the time to wait, or the group itself, has changed."""
        for bell in self._bells:
            ring(bell)
        self._bells.clear()

    def lag(self) -> Mapping[Lane, Lag]:
        """What lies in each lane."""
        return {
            lane: Lag(len(waiting), self._delayed_in[lane], self._leased_in[lane])
            for lane, waiting in self._lanes.items()
        }

    def empty(self) -> bool:
        """Whether nothing is waiting, delayed or leased."""
        return not (self._delayed or self._leases or any(self._lanes.values()))

    def _lane(self, lane: Lane) -> deque[Item]:
        waiting = self._lanes.get(lane)
        if waiting is None:
            waiting = self._lanes[lane] = deque()
        return waiting

    def _end(self, lease: Lease) -> None:
        del self._leases[lease]
        self._leased_in[lease.item.lane] -= 1
