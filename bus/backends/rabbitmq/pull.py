"""Handing out: what was prefetched, and rows of the bus database whose time has come."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bus.backend import Delivery, Lane, LaneName, Turn
from bus.backends.rabbitmq.claiming import Claimer, Raw
from bus.backends.rabbitmq.errors import closed
from bus.backends.rabbitmq.feed import Feed, Feeds
from bus.backends.rabbitmq.held import Held, Holding
from bus.backends.rabbitmq.link import RabbitLink
from bus.backends.rabbitmq.names import Shape, queues_of
from bus.errors import Unroutable
from bus.parking.bindings import Binding, Bindings
from bus.parking.heads import slices_of
from bus.parking.parking import Place
from bus.turns import named, share_out, turns_of
from bus.waking import rung
from contracts.errors import InvalidValue

_MOST = 1000
"""Messages that one pull takes at once."""

_AGAIN = 0.02
"""Seconds until who saw rows, and was too late for them, sees when they may be taken again."""


@dataclass(slots=True)
class _Wish:
    """One pull: its turns, how far it may go, and the queues and places of each of its lanes."""

    group: str
    turns: Sequence[Turn]
    lanes: tuple[Lane, ...]
    limit: int

    def places(self, slices: int) -> dict[Lane, list[Place]]:
        """Where in the bus database rows of each lane lie."""
        return {
            lane: [(lane.name.value, k) for k in slices_of(lane, slices)] for lane in self.lanes
        }


class Puller:
    """Pulls of one process. `looks`: when rows are looked for again, by group and lanes."""

    def __init__(
        self,
        link: RabbitLink,
        feeds: Feeds,
        bindings: Bindings,
        holding: Holding,
        slices: int,
    ) -> None:
        self._link = link
        self._feeds = feeds
        self._bindings = bindings
        self._parking = holding.parking
        self._holding = holding
        self._slices = slices
        self._claimer = Claimer(link, holding)
        self._looks: dict[tuple[int, tuple[Lane, ...]], float] = {}

    def told(self, gid: int | None) -> None:
        """Rows of a group may have come, or of any."""
        for key in [key for key in self._looks if gid is None or key[0] == gid]:
            del self._looks[key]
        self._feeds.ring()

    async def pull(
        self, group: str, lanes: Sequence[Lane | Turn], limit: int, wait: float
    ) -> list[Delivery]:
        """See `Backend.pull`."""
        if limit < 1:
            raise InvalidValue(f"limit is {limit}", details="pull at least one message")
        clock = self._link.clock
        end = clock.monotonic() + wait
        most = min(limit, _MOST)
        wish = _Wish(group, turns_of(lanes, most), named(lanes), most)
        binding = await self._bindings.of(group)
        queues = self._queues(binding, wish.lanes)
        with self._feeds.pulling([queue for each in queues.values() for queue in each]):
            pair = await self._link.heard()  # of a broker that is gone nothing is handed out
            while True:
                with self._feeds.bell() as bell:
                    found = await self._gathered(wish)
                    now = clock.monotonic()
                    if found or now >= end:
                        return found
                    look = self._looks.get((binding.gid, wish.lanes), now + _AGAIN)
                    await rung(bell, clock, max(0.0, min(end, look) - now))
                if self._link.is_closed:
                    raise closed()
                if pair.dead and clock.monotonic() < end:
                    pair = await self._link.pair()

    def _queues(self, binding: Binding, lanes: Sequence[Lane]) -> dict[Lane, list[str]]:
        shape = Shape.read(binding.facts)
        exchange = self._link.exchange
        return {
            lane: queues_of(exchange, binding.group, lane, shape, self._slices) for lane in lanes
        }

    async def _gathered(self, wish: _Wish) -> list[Delivery]:
        """To its end, though the caller is cancelled: what it took is given back then."""
        asked = self._link.spawn(self._wanted(wish))
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            if self._link.is_closed and asked.cancelled():
                raise closed() from None
            self._link.spawn(self._unsee(asked))
            raise

    async def _wanted(self, wish: _Wish) -> list[Delivery]:
        """Consumers stay open until this ends, and no longer: its caller may be gone."""
        queues = self._queues(await self._bindings.of(wish.group), wish.lanes)
        with self._feeds.pulling([queue for each in queues.values() for queue in each]):
            return await self._gather(wish)

    async def _gather(self, wish: _Wish) -> list[Delivery]:
        """What can be had now; consumers stay open for what comes later."""
        while True:
            binding = await self._bindings.of(wish.group)
            queues = self._queues(binding, wish.lanes)
            feeds = await self._open(queues, wish.limit)
            ready = await self._ready(binding, wish)
            await self._feeds.catch_up(_compared(feeds, ready), wish.limit)
            counts = {
                lane: sum(len(feed.buffer) for feed in feeds[lane])
                + sum(ready.get(place, 0) for place in places)
                for lane, places in wish.places(self._slices).items()
            }
            plan = _planned(wish, counts)
            if not plan:
                return []
            found, dropped = await self._handed_out(binding, wish, feeds, ready, plan)
            if found and ready:
                self._feeds.ring()  # others of this process let this one look alone
            if found or not dropped:
                return found

    async def _open(
        self, queues: Mapping[Lane, Sequence[str]], limit: int
    ) -> dict[Lane, list[Feed]]:
        every = [queue for each in queues.values() for queue in each]
        try:
            opened = dict(zip(every, await self._feeds.open(every, limit), strict=True))
        except Unroutable:
            self._bindings.stale()
            raise
        return {lane: [opened[queue] for queue in each] for lane, each in queues.items()}

    async def _ready(self, binding: Binding, wish: _Wish) -> dict[Place, int]:
        """Rows that may be taken, unless it is known that there are none yet."""
        now = self._link.clock.monotonic()
        key = (binding.gid, wish.lanes)
        if now < self._looks.get(key, 0.0):
            return {}
        lease = self._holding.lease
        self._looks[key] = now + lease
        every = [place for places in wish.places(self._slices).values() for place in places]
        try:
            ready, later = await self._parking.look(binding.gid, every, wish.limit)
        except BaseException:
            self._looks.pop(key, None)
            raise
        if ready:
            self._looks.pop(key, None)
        elif key in self._looks:
            self._looks[key] = now + min(lease, lease if later is None else later)
        return ready

    async def _handed_out(
        self,
        binding: Binding,
        wish: _Wish,
        feeds: Mapping[Lane, Sequence[Feed]],
        ready: Mapping[Place, int],
        plan: Sequence[tuple[Lane, int]],
    ) -> tuple[list[Delivery], bool]:
        """What was planned, and whether some of it were repetitions."""
        wanted: dict[Lane, int] = defaultdict(int)
        for lane, count in plan:
            wanted[lane] += count
        rows: dict[Place, int] = {}
        for lane, places in wish.places(self._slices).items():
            for place in places:
                if wanted[lane] and ready.get(place):
                    rows[place] = min(wanted[lane], ready[place])
                    wanted[lane] -= rows[place]
        taken = await self._claimer.take(binding, rows) if rows else []
        claimed, dropped = await self._claimed(binding, feeds, wanted, taken)
        lots: dict[Lane, deque[Held]] = defaultdict(deque)
        for held in taken:
            lane = held.message.lane
            lots[Lane(lane.name, lane.slice % self._slices)].append(held)
        for lane, held in claimed:
            lots[lane].append(held)
        found = [lots[lane].popleft() for lane, n in plan for _ in range(n) if lots[lane]]
        self._holding.add(found)
        return [_delivery(binding.group, held) for held in found], dropped

    async def _claimed(
        self,
        binding: Binding,
        feeds: Mapping[Lane, Sequence[Feed]],
        wanted: Mapping[Lane, int],
        taken: Sequence[Held],
    ) -> tuple[list[tuple[Lane, Held]], bool]:
        """So many of each lane, after the rows: those come back by themselves if nobody is handed
        them, but the broker leaves what it delivered to whoever lives."""
        raws = [(lane, raw) for lane in feeds for raw in _popped(feeds[lane], wanted[lane])]
        try:
            return await self._claimer.claim(binding, raws) if raws else [], bool(raws)
        except BaseException:
            self._claimer.put_back(binding, taken)
            raise

    async def _unsee(self, asked: "asyncio.Task[list[Delivery]]") -> None:
        """Nobody was shown what this pull found: it may be handed out at once."""
        found = []
        for delivery in await asked:
            held = delivery.receipt
            assert isinstance(held, Held)  # noqa: S101 - for the types
            held.until = 0.0
            self._holding.drop(held)
            found.append(held)
        await self._claimer.unsee(found)


def _compared(feeds: Mapping[Lane, Sequence[Feed]], ready: Mapping[Place, int]) -> list[Feed]:
    """Those of lanes beside which another has something: between these there is a choice."""
    full = {lane for lane, each in feeds.items() if any(feed.buffer for feed in each)}
    full |= {Lane(LaneName(name)) for name, _ in ready}
    return [feed for lane, each in feeds.items() if full - {lane} for feed in each]


def _popped(feeds: Sequence[Feed], count: int) -> list[Raw]:
    """So many of what was prefetched, of each queue in turn."""
    found: list[Raw] = []
    waiting = [feed for feed in feeds if feed.buffer]
    while waiting and len(found) < count:
        found += [(feed, feed.buffer.popleft()) for feed in waiting[: count - len(found)]]
        waiting = [feed for feed in waiting if feed.buffer]
    return found


def _planned(wish: _Wish, counts: Mapping[Lane, int]) -> list[tuple[Lane, int]]:
    """How many of which lane, in the order in which they are handed out."""
    left, room = dict(counts), wish.limit
    plan: list[tuple[Lane, int]] = []
    for turn in wish.turns:
        given = share_out([left[lane] for lane in turn.lanes], min(turn.most, room))
        for lane, count in zip(turn.lanes, given, strict=True):
            if count:
                plan.append((lane, count))
                left[lane] -= count
                room -= count
    return plan


def _delivery(group: str, held: Held) -> Delivery:
    return Delivery(held.message, group, held.earlier, held)
