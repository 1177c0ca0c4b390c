"""The log of a group: records are put at its ends and read from any place, by requests of our own.

Nothing of what was read is kept at the broker: no sessions, no offsets.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.protocol.admin import DeleteRecordsRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.produce import ProduceRequest

from bus.backends.kafka.errors import translated
from bus.backends.kafka.link import READ, WRITE, KafkaLink, Use
from bus.backends.kafka.records import Logged, read
from bus.backends.kafka.unread import after
from bus.errors import Unreachable

MOST_BYTES = 1 << 20
"""What one question brings of a partition, at least one batch."""

_ANSWER_BYTES = 1 << 25
_ALL = -1
_TIMEOUT_MS = 2500
_OUT_OF_RANGE = OffsetOutOfRangeError.errno
_EARLIEST, _LATEST = -2, -1


@dataclass(frozen=True, slots=True)
class Found:
    """What one question brought of a partition: records from the offset asked for on, the offset
    after the last one that is safe, and `upto`, the one after what was read. `gone`: there is
    nothing at that offset, neither now nor later; the oldest record lies at `start`."""

    records: Sequence[Logged]
    end: int
    gone: bool = False
    start: int = 0
    upto: int = 0


Batch = tuple[str, int, bytes]
"""What is to be put where: topic, partition, records."""


async def append(link: KafkaLink, batches: Sequence[Batch]) -> None:
    """Put batches where every replica in sync has them, one request to each broker. No partition
    may be in it twice."""
    doing = "publishing"
    shares: dict[int, list[Batch]] = {}
    for topic, part, batch in batches:
        leader = (await link.leaders(topic, doing, [part]))[part]
        shares.setdefault(leader, []).append((topic, part, batch))
    sent = [_append_to(link, node, share, doing) for node, share in shares.items()]
    for each in await asyncio.gather(*sent, return_exceptions=True):
        if isinstance(each, BaseException):
            raise each


async def _append_to(link: KafkaLink, node: int, batches: Sequence[Batch], doing: str) -> None:
    topics: dict[str, list[tuple[int, bytes]]] = {}
    for topic, part, batch in batches:
        topics.setdefault(topic, []).append((part, batch))
    request = ProduceRequest(None, _ALL, _TIMEOUT_MS, list(topics.items()))
    try:
        answer = await link.ask(request, doing, use=link.another_write(), node=node)
    except Unreachable:
        for topic in topics:
            link.forget(topic)
        raise
    for topic, places in answer.topics:
        for _, code, *_ in places:
            link.check(code, topic, doing)


async def fetch(
    link: KafkaLink, topic: str, wanted: Mapping[int, int], *, use: Use = READ
) -> dict[int, Found]:
    """Of each partition, what lies from this offset on; with a `use` that waits, as soon as there
    is something in one of them."""
    doing = "reading the log"
    shares = by_leader(await link.leaders(topic, doing, wanted), wanted)
    asked = [
        _fetch_from(link, topic, node, {part: wanted[part] for part in parts}, use=use)
        for node, parts in shares.items()
    ]
    found = [each for answer in await asyncio.gather(*asked) for each in answer]
    lost = [part for part, code, *_ in found if code == _OUT_OF_RANGE]
    starts = await ends(link, topic, lost, oldest=True) if lost else {}
    read_: dict[int, Found] = {}
    for part, code, end, *_, content in found:
        if code == _OUT_OF_RANGE:
            read_[part] = Found((), max(end, starts[part]), True, starts[part])
            continue
        link.check(code, topic, doing)
        with translated(link.where, doing):
            records = tuple(read(part, content or b"", wanted[part]))
            read_[part] = Found(records, end, upto=after(content or b""))
    return read_


async def _fetch_from(
    link: KafkaLink, topic: str, node: int, wanted: Mapping[int, int], *, use: Use
) -> list[Any]:
    asked = [(part, place, MOST_BYTES) for part, place in wanted.items()]
    request = FetchRequest(int(use.wait * 1000), 1, _ANSWER_BYTES, 0, [(topic, asked)])
    answer = await link.ask(request, "reading the log", use=use, node=node)
    return [part for _, found in answer.topics for part in found]


async def ends(
    link: KafkaLink, topic: str, parts: Sequence[int], *, oldest: bool = False
) -> dict[int, int]:
    """The offset after the last record of each partition that is safe; or that of its oldest."""
    doing = "asking how long the log is"
    which = _EARLIEST if oldest else _LATEST
    shares = by_leader(await link.leaders(topic, doing, parts), parts)
    found: dict[int, int] = {}
    for node, ours in shares.items():
        request = OffsetRequest(-1, 0, [(topic, [(part, which) for part in ours])])
        answer = await link.ask(request, doing, node=node)
        for _, places in answer.topics:
            for part, code, _, offset in places:
                link.check(code, topic, doing)
                found[part] = offset
    return found


async def delete_below(link: KafkaLink, topic: str, lows: Mapping[int, int]) -> None:
    """Let the broker delete what lies below these offsets, when it comes to it."""
    doing = "deleting what is done"
    leaders = await link.leaders(topic, doing, lows)
    for node, parts in by_leader(leaders, lows).items():
        asked = [(topic, [(part, lows[part]) for part in parts])]
        request = DeleteRecordsRequest(asked, _TIMEOUT_MS)
        answer = await link.ask(request, doing, use=WRITE, node=node)
        codes = [place[2] for found in answer.topics for place in found[1]]
        for code in codes:
            if code != _OUT_OF_RANGE:
                link.check(code, topic, doing)


def by_leader(leaders: Mapping[int, int], parts: Iterable[int]) -> dict[int, list[int]]:
    """Partitions by the broker that leads them."""
    found: dict[int, list[int]] = {}
    for part in sorted(parts):
        found.setdefault(leaders[part], []).append(part)
    return found
