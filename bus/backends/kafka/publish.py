"""Publishing: everything is checked and routed first, then put into the log or kept as rows.

A partition takes one batch of a request: what is more comes in the next request.
"""

from collections.abc import Sequence
from itertools import islice

from bus.backend import MAX_BODY, MAX_HEADERS, Message
from bus.backends.kafka import log, statements
from bus.backends.kafka.bells import Bells
from bus.backends.kafka.gauge import Gauge
from bus.backends.kafka.groups import Group, Groups, Routed
from bus.backends.kafka.link import KafkaLink
from bus.backends.kafka.names import CODES
from bus.backends.kafka.records import batches, row_key, size_of, to_meta
from bus.database.database import BusDatabase
from bus.sizes import check_sizes

Columns = list[Sequence[object]]
Place = tuple[Group, int]


class Publisher:
    """Sends messages so that they are safe on disk when the call returns."""

    def __init__(
        self, link: KafkaLink, database: BusDatabase, groups: Groups, bells: Bells, gauge: Gauge
    ) -> None:
        self._link = link
        self._database = database
        self._groups = groups
        self._bells = bells
        self._gauge = gauge

    async def publish(
        self, messages: Sequence[Message], *, owed: bool = True, follow_up: bool = False
    ) -> None:
        """See `Backend.publish`. With `owed` False, a message routed by topic that no group wants
        is dropped, and a full broker is no reason to refuse."""
        each = _sizes(messages)
        await self._link.ready("publishing")
        routed = (await self._groups.current()).route(messages, owed=owed)
        sizes = {place: sum(each[id(m)] for m in found) for place, found in routed.logged.items()}
        if owed:
            size = sum(sizes.values()) + sum(size_of(m) for _, m in routed.rows)
            await self._gauge.admit(size, follow_up=follow_up)
        await self._log(routed, sizes)
        if routed.rows:
            await self._database.fetch(statements.KEEP, *columns(routed.rows))
            self._bells.tell_rows({group.gid for group, _ in routed.rows})

    async def _log(self, routed: Routed, sizes: dict[Place, int]) -> None:
        """Put these into the logs: the first batch of each partition, then the second ones. The
        bytes of a partition are counted with its first batch."""
        waiting = {place: batches(found) for place, found in routed.logged.items()}
        while going := {place: some for place, more in waiting.items() for some in islice(more, 1)}:
            sent = [(group.topic, part, batch) for (group, part), batch in going.items()]
            await log.append(self._link, sent)
            for group, part in going:
                self._bells.count(group.gid, part, sizes.pop((group, part), 0))


def _sizes(messages: Sequence[Message]) -> dict[int, int]:
    """The bytes that each counts for, by its identity. Raises `TooLarge`."""
    found: dict[int, int] = {}
    for m in messages:
        body, size = len(m.body), size_of(m)
        if body > MAX_BODY or (size - body) * 4 > MAX_HEADERS:  # four bytes a character at most
            check_sizes((m,))
        found[id(m)] = size
    return found


def columns(rows: Sequence[tuple[Group, Message]]) -> Columns:
    """What `KEEP` and `SETTLE_THEN` take of messages for groups."""
    found = sorted(
        (
            (
                group.gid,
                row_key(m),
                CODES[m.lane.name],
                m.lane.slice % group.cut,
                m.due,
                size_of(m),
                to_meta(m),
                m.body,
            )
            for group, m in rows
        ),
        key=lambda row: row[:2],
    )
    return [*zip(*found, strict=True)] or [()] * 8
