"""Messages as records of the log, and as rows of the database. Pure.

A record: its key is the task's id, its value the body, its headers those of the message and
`muster`: lane, slice, group (`*` when routed by topic) and topic, with a space between. A record
without that header is of a foreign publisher, and a message without an id.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from aiokafka.errors import KafkaError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from bus.backend import NORMAL, Lane, LaneName, Message
from bus.backends.kafka import unread
from contracts.quick import quick

HEADER = "muster"
"""The header of ours; the others are the message's."""

TOPIC_UNKNOWN = "unknown"
"""The topic of a record that does not say it."""

BATCH_BYTES = 950_000
"""What records of one batch may have together; one alone may have more. A topic takes 1 MiB."""

_LONGEST = 600
"""Characters of a key in the database, whose index takes 2,704 bytes of a row."""


@quick
@dataclass(frozen=True, slots=True)
class Logged:
    """A record that was read: where it lies, when the broker took it (seconds), what it is, its
    dedupe key, and the bytes that it counts for. One without an id has a key of its own."""

    part: int
    offset: int
    time: float
    message: Message
    key: str
    size: int


def size_of(m: Message) -> int:
    """The bytes that a message counts for."""
    return len(m.body) + len("".join(m.headers)) + len("".join(m.headers.values()))


def comes_back(m: Message) -> bool:
    """Whether it belongs into a retry lane: a row for each group, routed when published."""
    return bool(m.due or m.copy or m.lane.name is LaneName.RETRY)


def batches(messages: Iterable[Message]) -> Iterator[bytes]:
    """Batches as a broker takes them."""
    builder, count, own = _builder(), 0, _Own()
    for m in messages:
        key = _bytes(m.id) if m.id else None
        headers = _headers(m)
        headers.append((HEADER, own.of(m)))
        if builder.append(count, 0, key, m.body, headers) is None:  # it is full
            yield bytes(builder.build())
            builder, count = _builder(), 0
            builder.append(count, 0, key, m.body, headers)
        count += 1
    if count:
        yield bytes(builder.build())


def _headers(m: Message) -> list[tuple[str, bytes]]:
    try:
        return [(name, value.encode()) for name, value in m.headers.items()]
    except UnicodeEncodeError:
        return [(name, _bytes(value)) for name, value in m.headers.items()]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


class _Own:
    """The header of ours: neighbours have mostly the same one."""

    __slots__ = ("_last", "_made")

    def __init__(self) -> None:
        self._last: tuple[LaneName, int, str | None, str] | None = None
        self._made = b""

    def of(self, m: Message) -> bytes:
        """That of `m`."""
        lane = m.lane
        now = (lane.name, lane.slice, m.group, m.topic)
        if now != self._last:
            self._last = now
            self._made = f"{lane.name} {lane.slice} {m.group or '*'} {m.topic}".encode()
        return self._made


def _builder() -> DefaultRecordBatchBuilder:
    return DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=BATCH_BYTES,
    )


def read(part: int, content: bytes, first: int) -> Iterator[Logged]:
    """The records from offset `first` on of what was fetched from a partition, whatever they
    are."""
    for batch in unread.split(content):
        for record in _records(batch):
            if record.offset >= first:
                yield _logged(part, record)


def _records(batch: bytes) -> Iterable[Any]:
    try:
        found = MemoryRecords(batch).next_batch()
        if found is None or getattr(found, "is_control_batch", False):
            return ()
        return [*found]
    except (KafkaError, ValueError, RuntimeError):
        return unread.records(batch)


def _logged(part: int, record: Any) -> Logged:
    raw_key, body = record.key, record.value or b""
    try:
        texts = {name: raw.decode() if raw else "" for name, raw in record.headers}
        id_ = raw_key.decode() if raw_key else ""
    except UnicodeDecodeError:
        texts = {name: _text(raw) if raw else "" for name, raw in record.headers}
        id_ = _text(raw_key) if raw_key else ""
    lane, group, topic = _own(texts.pop(HEADER, ""))
    size = len(body) + len("".join(texts)) + len("".join(texts.values()))
    headers = MappingProxyType(texts)
    if id_ and topic:
        message = Message(id_, 0, topic, body, headers, lane, 0.0, group)
        key = kept_key(f"{id_}/{group or '*'}/0")
    else:
        message = Message("", 0, topic or TOPIC_UNKNOWN, body, headers, lane, 0.0, group)
        key = f"/{part}/{record.offset}"
    return Logged(part, record.offset, record.timestamp / 1000, message, key, size)


def _text(raw: bytes) -> str:
    """What a publisher wrote as text, whatever it is."""
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return raw.decode("utf-8", "backslashreplace")


@lru_cache(maxsize=1024)
def _own(text: str) -> tuple[Lane, str | None, str]:
    """Lane, group and topic, if it is a header of ours."""
    try:
        lane, slice_, group, topic = text.split(" ", 3)
        return Lane(LaneName(lane), int(slice_)), None if group == "*" else group, topic
    except ValueError:
        return NORMAL, None, ""


def to_meta(m: Message) -> str:
    """What a row keeps of a message beside its body."""
    kept = [m.id, m.copy, m.topic, m.lane.name, m.lane.slice, m.due, m.group, dict(m.headers)]
    return json.dumps(kept)


def from_row(meta: str, body: bytes) -> Message:
    """The message of a row."""
    id_, copy, topic, lane, slice_, due, group, headers = json.loads(meta)
    lane_ = Lane(LaneName(lane), slice_)
    return Message(id_, copy, topic, body, MappingProxyType(headers), lane_, due, group)


def row_key(m: Message) -> str:
    """The dedupe key a message has as a row; one without an id has a key of its own."""
    return kept_key(m.key()) if m.id else f"//{secrets.token_hex(8)}"


def kept_key(key: str) -> str:
    """`key` as the database can keep it: no record may come whose row is refused, for everything
    behind it would wait for ever."""
    if not key.isprintable():
        key = key.encode("unicode_escape").decode()
    if len(key) > _LONGEST:
        key = f"{key[:64]}…{hashlib.sha256(key.encode()).hexdigest()}"
    return key


def returning(m: Message, group: str) -> Message:
    """`m` as it lies in a row of the retry lane: with `due`, one of its own for each group."""
    lane = Lane(LaneName.RETRY, m.lane.slice)
    return replace(m, lane=lane, group=group if m.due else m.group)
