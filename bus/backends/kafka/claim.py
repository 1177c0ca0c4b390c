"""Taking what a pull has chosen: one statement that moves partitions on, claims dedupe keys and
takes rows, so that none is without the others.

A pull that is cancelled meanwhile gives back what it got.
"""

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from bus.backend import Delivery, Lane, Message
from bus.backends.kafka import log, statements
from bus.backends.kafka.arrays import keys, numbers
from bus.backends.kafka.choosing import Choice
from bus.backends.kafka.groups import Group
from bus.backends.kafka.link import KafkaLink
from bus.backends.kafka.names import CODES
from bus.backends.kafka.receipts import Receipt
from bus.backends.kafka.records import TOPIC_UNKNOWN, Logged, from_row
from bus.database.database import BusDatabase
from bus.errors import BusError
from contracts.clock import Clock

if TYPE_CHECKING:
    from bus.database.links import Row

_log = logging.getLogger(__name__)

GiveBack = Callable[[Sequence[Receipt]], Awaitable[None]]


class Claims:
    """Hand-overs to this process."""

    def __init__(
        self,
        link: KafkaLink,
        database: BusDatabase,
        give_back: GiveBack,
        *,
        lease: float,
        clock: Clock,
    ) -> None:
        self._link = link
        self._database = database
        self._give_back = give_back
        self._lease = lease
        self._clock = clock
        self._under_way: set[asyncio.Task[None] | asyncio.Task[list[Delivery]]] = set()

    async def claim(
        self,
        group: Group,
        owner: int,
        next_: Mapping[int, int],
        chosen: Sequence[Choice],
        channel: str | None = None,
    ) -> list[Delivery]:
        """Those of `chosen` that are ours now, in their order. With a `channel`, others hear there
        up to where these records, and no rows with them, are handed over."""
        task = asyncio.create_task(self._claim(group, owner, next_, chosen, channel))
        self._keep(task)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._abandoned)
            raise

    async def close(self) -> None:
        """Let what is under way end."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=1.0)

    async def _claim(
        self,
        group: Group,
        owner: int,
        next_: Mapping[int, int],
        chosen: Sequence[Choice],
        channel: str | None,
    ) -> list[Delivery]:
        rows = await self._ask(group, owner, next_, chosen, channel)
        taken = [row for row in rows if row["offs"] is None]
        since = self._clock.monotonic()
        receipts = {
            row["key"]: Receipt(group.gid, row["key"], owner, since, row["body"] is not None)
            for row in taken
        }
        try:
            messages = await self._messages(group, taken)
        except BusError:
            await self._return(list(receipts.values()))
            raise
        lanes: dict[tuple[int, int], deque[Delivery]] = defaultdict(deque)
        for row in taken:
            earlier, receipt = row["handed"] - 1, receipts[row["key"]]
            delivery = Delivery(messages[row["key"]], group.name, earlier, receipt)
            lanes[row["lane"], row["slice"]].append(delivery)
        ours = {row["part"]: {*row["offs"]} for row in rows if row["offs"] is not None}
        found: list[Delivery] = []
        for choice in chosen:
            if choice.rows:
                found += _of_rows(choice, lanes)
            found += [
                Delivery(
                    each.message, group.name, 0, Receipt(group.gid, each.key, owner, since, False)
                )
                for each in choice.records
                if each.offset in ours.get(each.part, ())
            ]
        return found

    async def _ask(
        self,
        group: Group,
        owner: int,
        next_: Mapping[int, int],
        chosen: Sequence[Choice],
        channel: str | None,
    ) -> "list[Row]":
        wanted: dict[tuple[int, int], int] = defaultdict(int)
        for choice in chosen:
            for slice_, count in choice.rows.items():
                wanted[CODES[choice.lane.name], slice_] += count
        rows = _columns([(*place, count) for place, count in sorted(wanted.items())], 3)
        terms = (group.gid, self._lease, owner)
        records = [(choice.lane, each) for choice in chosen for each in choice.records]
        if not records:
            return await self._database.fetch(statements.TAKE, *terms, *rows, sure=False)
        moved, claims = _moves(next_, records), _claims(group, records)
        both = (*terms, *_columns(moved, 5), *claims)
        if not wanted and channel is not None:
            return await self._database.fetch(statements.COMPETE, *both, channel, sure=False)
        if not wanted:
            return await self._database.fetch(statements.CLAIM, *both, sure=False)
        return await self._database.fetch(statements.CLAIM_BOTH, *both, *rows, sure=False)

    async def _messages(self, group: Group, taken: "Sequence[Row]") -> dict[str, Message]:
        """What the rows stand for; what lies in the log is read from there again."""
        found = {r["key"]: from_row(r["meta"], r["body"]) for r in taken if r["body"] is not None}
        missing = {(r["part"], r["off"]): r["key"] for r in taken if r["body"] is None}
        while missing:
            first = dict(sorted(missing, reverse=True))
            for part, read in (await log.fetch(self._link, group.topic, first)).items():
                for each in read.records:
                    key = missing.pop((part, each.offset), None)
                    if key is not None:
                        found[key] = each.message
                if (key := missing.pop((part, first[part]), None)) is not None:
                    _log.error("%s lies in Kafka no more: %s %d", key, group.topic, first[part])
                    found[key] = _lost(key)
        return found

    async def _return(self, receipts: Sequence[Receipt]) -> None:
        try:
            if receipts:
                await self._give_back(receipts)
        except BusError as error:
            _log.debug("what was taken comes back by its lease: %s", error)

    def _abandoned(self, task: "asyncio.Task[list[Delivery]]") -> None:
        if task.cancelled() or task.exception() is not None:
            return
        receipts = [d.receipt for d in task.result() if isinstance(d.receipt, Receipt)]
        if receipts:
            self._keep(asyncio.create_task(self._return(receipts)))

    def _keep(self, task: "asyncio.Task[None] | asyncio.Task[list[Delivery]]") -> None:
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)


def _of_rows(choice: Choice, lanes: Mapping[tuple[int, int], deque[Delivery]]) -> list[Delivery]:
    code = CODES[choice.lane.name]
    waiting = {slice_: lanes.get((code, slice_), deque()) for slice_ in choice.rows}
    return [
        waiting[slice_].popleft()
        for slice_, count in choice.rows.items()
        for _ in range(min(count, len(waiting[slice_])))
    ]


def _moves(
    next_: Mapping[int, int], records: Sequence[tuple[Lane, Logged]]
) -> list[tuple[int, int, int, int, float]]:
    """By partition: from where, to where, over how many bytes, and until when it was accepted."""
    moves: dict[int, tuple[int, int, int, int, float]] = {}
    for _, each in records:
        size = each.size + (moves[each.part][3] if each.part in moves else 0)
        moves[each.part] = (each.part, next_[each.part], each.offset + 1, size, each.time)
    return sorted(moves.values())


def _claims(group: Group, records: Sequence[tuple[Lane, Logged]]) -> list[str]:
    """By key: part, offset, lane, slice and size, as the statement takes them."""
    cut = group.cut
    rows = sorted(
        (
            each.key,
            each.part,
            each.offset,
            CODES[lane.name],
            each.message.lane.slice % cut,
            each.size,
        )
        for lane, each in records
    )
    found, *others = zip(*rows, strict=True)
    return [keys(found), *map(numbers, others)]


def _columns(rows: Sequence[Sequence[object]], count: int) -> list[Sequence[object]]:
    return [*zip(*rows, strict=True)] or [()] * count


def _lost(key: str) -> Message:
    """What is handed out for a message that is gone: its reader finds it undecodable, and makes it
    a dead letter that somebody will see."""
    return Message(key.rpartition("/")[0].rpartition("/")[0], 0, TOPIC_UNKNOWN, b"")
