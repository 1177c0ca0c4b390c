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
    builder, count = _builder(), 0
    for m in messages:
        record = (m.id.encode("utf-8", "surrogatepass") if m.id else None, m.body, _headers(m))
        if builder.append(count, 0, *record) is None:  # it is full
            yield bytes(builder.build())
            builder, count = _builder(), 0
            builder.append(count, 0, *record)
        count += 1
    if count:
        yield bytes(builder.build())


def _headers(m: Message) -> list[tuple[str, bytes]]:
    own = f"{m.lane.name} {m.lane.slice} {m.group or '*'} {m.topic}"
    headers = [(name, value.encode("utf-8", "surrogatepass")) for name, value in m.headers.items()]
    headers.append((HEADER, own.encode()))
    return headers


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
    texts, own = dict[str, str](), b""
    body = record.value or b""
    size = len(body)
    for name, raw in record.headers:
        if name == HEADER:
            own = raw or b""
            continue
        text = texts[name] = _text(raw) if raw else ""
        size += len(name) + len(text)
    lane, group, topic = _own(own)
    id_ = _text(record.key) if record.key and topic else ""
    headers = MappingProxyType(texts)
    message = Message(id_, 0, topic or TOPIC_UNKNOWN, body, headers, lane, 0.0, group)
    key = kept_key(message.key()) if id_ else f"/{part}/{record.offset}"
    return Logged(part, record.offset, record.timestamp / 1000, message, key, size)


def _text(raw: bytes) -> str:
    """What a publisher wrote as text, whatever it is."""
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return raw.decode("utf-8", "backslashreplace")


@lru_cache(maxsize=1024)
def _own(raw: bytes) -> tuple[Lane, str | None, str]:
    """Lane, group and topic, if it is a header of ours."""
    try:
        lane, slice_, group, topic = _text(raw).split(" ", 3)
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
