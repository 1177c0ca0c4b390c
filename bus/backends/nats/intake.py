"""What a group has in hand but not yet handed out, and what to do with what nobody fetches.

Everything the server sends lands here first, so that a pull that is cancelled, or a message that
came for one already over, loses nothing: the next pull takes it, or after `_GRACE` it is put
back for any member. A nak is no way to do that: it counts as a hand-over.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf

from bus.backend import Delivery, Lane, LaneName, Message, Turn
from bus.backends.nats.bindings import Binding
from bus.backends.nats.link import NatsLink
from bus.backends.nats.names import parse_subject
from bus.backends.nats.publish import Outgoing
from bus.backends.nats.receipts import Receipt, now
from bus.backends.nats.sources import Source, by_lane, sources
from bus.backends.nats.wire import (
    DUE,
    EARLIER,
    KEY,
    MSG_ID,
    Key,
    decode_key,
    encode_key,
    header_lines,
    parse_ack,
    parse_headers,
)
from bus.errors import BusError
from bus.turns import share_out
from contracts.quick import quick
from contracts.topics import matches_any

_GRACE = 0.02
"""Seconds a message waits for the next pull before it is put back."""

_REST = 0.5
"""Seconds between questions to a consumer of an earlier generation that has come to its end."""

_log = logging.getLogger(__name__)


@quick
@dataclass(frozen=True, slots=True)
class Raw:
    """A message as it came, and when."""

    source: Source
    subject: str
    ack: str
    body: bytes
    headers: bytes | None
    arrived: tuple[float, float]


class Intake:
    """One group's messages in hand, by lane."""

    def __init__(
        self,
        link: NatsLink,
        group: str,
        binding: Callable[[], Binding],
        put_back: Callable[[Sequence[Outgoing]], Awaitable[None]],
        forget: Callable[[Sequence[Receipt]], Awaitable[None]],
    ) -> None:
        self._link = link
        self._group = group
        self._binding = binding
        self._sources: dict[str, Source] = {}
        self._by_lane: dict[Lane, list[Source]] = {}
        self._known: dict[str, Source] = {}
        self._passed: dict[str, float] = {}
        self.revision = -1
        self._put_back = put_back
        self._forget = forget
        self._kept: dict[Lane, deque[Raw]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._wanted: list[Sequence[Lane]] = []

    def sources(self) -> dict[str, Source]:
        """The consumers of the binding as it is now; `revision` tells when they change."""
        binding = self._binding()
        if binding.revision != self.revision:
            self._sources = sources(self._link.names, binding, self._link.slices)
            self._by_lane = by_lane(self._sources)
            # Those of before stay known: a message of theirs may be under way.
            self._known = {**self._known, **self._sources}
            self.revision = binding.revision
        return self._sources

    def askable(self, lanes: Sequence[Lane]) -> list[Source]:
        """The consumers of these lanes to ask now. One that has come to its end is asked once
        in a while, for what a holder that died gives back; else it hands out only strays."""
        self.sources()
        found = [source for lane in lanes for source in self._by_lane.get(lane, ())]
        if not self._passed:
            return found
        at = self._link.clock.monotonic()
        return [s for s in found if self._passed.get(s.consumer, at) <= at]

    def rest(self) -> float:
        """Seconds until the next of them is to be asked again."""
        ends = [end for name, end in self._passed.items() if name in self._sources]
        if not ends:
            return inf
        return max(0.0, min(ends) - self._link.clock.monotonic())

    def skip(self, consumer: str) -> None:
        """Leave a consumer out, as long as the binding still names it."""
        self._sources.pop(consumer, None)
        self._by_lane = by_lane(self._sources)

    def find(self, consumer: str) -> Source | None:
        """A consumer by its name, also one of before."""
        return self._known.get(consumer)

    def add(self, raw: Raw) -> None:
        """A message has come."""
        self._kept.setdefault(raw.source.lane, deque()).append(raw)
        if not self._wanted:
            self._watch_over()

    def enter(self, lanes: Sequence[Lane]) -> None:
        """A pull of `lanes` begins."""
        self._wanted.append(lanes)

    def leave(self, lanes: Sequence[Lane]) -> None:
        """It is over."""
        self._wanted.remove(lanes)
        if any(self._kept.values()):
            self._watch_over()

    def room(self, turns: Sequence[Turn], limit: int) -> int:
        """How many more the last of these turns could take than are in hand for it."""
        used: Counter[Lane] = Counter()
        room = limit
        for turn in turns:
            waiting = [len(self._kept.get(lane, ())) - used[lane] for lane in turn.lanes]
            room = min(turn.most, limit - used.total())
            parts = share_out(waiting, room)
            used.update(dict(zip(turn.lanes, parts, strict=True)))
            room -= sum(parts)
        return room

    def take(self, turns: Sequence[Turn], limit: int) -> tuple[list[Delivery], bool]:
        """At most `limit` that are the group's and still ours, earlier turns first; and whether
        there were others, which are settled unseen."""
        taken: list[Delivery] = []
        stray: list[Receipt] = []
        at = now(self._link.clock)
        self.sources()
        for turn in turns:
            end = min(limit, len(taken) + turn.most)
            while len(taken) < end and any(map(self._kept.get, turn.lanes)):
                waiting = [len(self._kept.get(lane, ())) for lane in turn.lanes]
                parts = share_out(waiting, end - len(taken))
                for lane, part in zip(turn.lanes, parts, strict=True):
                    for _ in range(part):
                        made = self._deliver(self._kept[lane].popleft(), at)
                        if isinstance(made, Receipt):
                            stray.append(made)
                        elif made is not None:
                            taken.append(made)
        if stray:
            self._spawn(lambda: self._forget(stray))
        return taken, bool(stray)

    def _deliver(self, raw: Raw, at: tuple[float, float]) -> Delivery | Receipt | None:
        """The delivery; a receipt when it is not the group's; None when it is ours no more."""
        source = self._known.get(raw.source.consumer, raw.source)  # as it is judged now
        ack = parse_ack(raw.ack)
        mine = Receipt(raw.ack, source.consumer, self._link.lease, raw.arrived)
        if not mine.unexpired(at):
            return None
        if source.until is not None and ack.sequence >= source.until:
            self._passed[source.consumer] = at[0] + _REST
            return mine
        if self._is_unasked(raw, source):
            return mine
        topic, lane = parse_subject(raw.subject)
        own, server, _, _ = parse_headers(raw.headers)
        id_, group, copy = decode_key(server.get(KEY) or server.get(MSG_ID))
        if source.lane.name is LaneName.RETRY:
            lane = Lane(LaneName.RETRY, lane.slice)
        earlier = ack.delivered - 1
        if EARLIER in server:
            earlier += int(server[EARLIER])
        due = float(server[DUE]) if DUE in server else 0.0
        message = Message(id_, copy, topic, raw.body, own, lane, due, group)
        return Delivery(message, self._group, earlier, mine)

    def _is_stray(self, raw: Raw) -> bool:
        """Whether it is not the group's: the next generation's, or not asked for."""
        source = self._known.get(raw.source.consumer, raw.source)
        if source.until is not None and parse_ack(raw.ack).sequence >= source.until:
            return True
        return self._is_unasked(raw, source)

    def _is_unasked(self, raw: Raw, source: Source) -> bool:
        if source.patterns is None or not raw.subject.startswith(f"{self._link.names.root}.t."):
            return False
        return not matches_any(source.patterns, parse_subject(raw.subject)[0])

    async def close(self) -> None:
        """Put back what is in hand, as far as the broker is there."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._link.connected:
            await self._return(list(self._drain(())))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _watch_over(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_GRACE, self._overdue)

    def _overdue(self) -> None:
        self._timer = None
        wanted = {lane for lanes in self._wanted for lane in lanes}
        raws = list(self._drain(wanted))
        if raws:
            self._spawn(lambda: self._return(raws))

    def _drain(self, wanted: Iterable[Lane]) -> Iterator[Raw]:
        for lane, kept in self._kept.items():
            while kept and lane not in wanted:
                yield kept.popleft()

    async def _return(self, raws: Sequence[Raw]) -> None:
        """Publish each again for this group, then acknowledge what came."""
        if not raws:
            return
        receipts = [Receipt(r.ack, r.source.consumer, self._link.lease, r.arrived) for r in raws]
        at = now(self._link.clock)
        both = [(raw, r) for raw, r in zip(raws, receipts, strict=True) if r.ours(at)]
        try:
            with suppress(BusError):  # closed, or unbound: judged as the binding was
                self.sources()
            await self._put_back([self._again(raw) for raw, _ in both if not self._is_stray(raw)])
            at = now(self._link.clock)
            await self._forget([r for _, r in both if r.ours(at)])
        except BusError:
            _log.info("messages not put back, they return by their lease", exc_info=True)

    def _again(self, raw: Raw) -> Outgoing:
        """The same message for this group only, in the lane it came from. Its message id is the
        key with the place it had, so that putting it back twice is once."""
        names = self._link.names
        topic, lane = parse_subject(raw.subject)
        headers = parse_headers(raw.headers)
        ack = parse_ack(raw.ack)
        text = headers.server.get(KEY) or headers.server.get(MSG_ID)
        key: Key = decode_key(text)
        place = f"{encode_key(*key)}~{self._group}~{ack.stream}~{ack.sequence}"
        earlier = ack.delivered - 1 + int(headers.server.get(EARLIER, "0"))
        lines = header_lines(headers.own)
        due = headers.server.get(DUE, "0")
        lines += f"{MSG_ID}: {place}\r\n{EARLIER}: {earlier}\r\n{DUE}: {due}\r\n".encode()
        if raw.source.lane.name is LaneName.RETRY:
            subject = names.retry(self._group, topic, lane)
        else:
            subject = names.direct(self._group, topic, lane)
        return Outgoing(raw.source.stream, subject, lines, raw.body, place)

    def _spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work` beside. It is called in the task: one that is cancelled before its first step
        must leave nothing behind that was made and never awaited."""

        async def run() -> None:
            try:
                await work()
            except BusError:
                _log.info("work beside a pull failed; leases make up for it", exc_info=True)

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
