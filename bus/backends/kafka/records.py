"""Messages as records of the log, and as rows of the database. Pure.

A record: its key is the task's id, its value the body, its headers those of the message and
`muster`: lane, slice, group (`*` when routed by topic) and topic, with a space between. A record
without that header is of a foreign publisher, and a message without an id.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from aiokafka.errors import KafkaError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from bus.backend import Lane, LaneName, Message
from bus.backends.kafka import unread

HEADER = "muster"
"""The header of ours; the others are the message's."""

TOPIC_UNKNOWN = "unknown"
"""The topic of a record that does not say it."""

BATCH_BYTES = 950_000
"""What records of one batch may have together; one alone may have more. A topic takes 1 MiB."""

_LONGEST = 600
"""Characters of a key in the database, whose index takes 2,704 bytes of a row."""

_EACH = 70
"""Bytes of a record beside its texts, at most."""


@dataclass(frozen=True, slots=True)
class Logged:
    """A record that was read: where it lies, when the broker took it (seconds), what it is, and
    the bytes that counts for."""

    part: int
    offset: int
    time: float
    message: Message
    size: int

    @property
    def key(self) -> str:
        """Its dedupe key; one without an id has a key of its own."""
        m = self.message
        return kept_key(m.key()) if m.id else f"/{self.part}/{self.offset}"


def size_of(m: Message) -> int:
    """The bytes that a message counts for."""
    return len(m.body) + sum(map(len, m.headers)) + sum(map(len, m.headers.values()))


def comes_back(m: Message) -> bool:
    """Whether it belongs into a retry lane: a row for each group, routed when published."""
    return bool(m.due or m.copy or m.lane.name is LaneName.RETRY)


def batches(messages: Iterable[Message]) -> Iterator[tuple[bytes, int]]:
    """Batches as a broker takes them, and how many records each has."""
    part: list[tuple[bytes | None, Message, list[tuple[str, bytes]]]] = []
    size = 0
    for m in messages:
        headers = _headers(m)
        length = len(m.body) + _EACH + len(m.id) * 4
        length += sum(len(name) * 4 + len(value) + 8 for name, value in headers)
        if part and size + length > BATCH_BYTES:
            yield _batch(part), len(part)
            part, size = [], 0
        part.append((m.id.encode("utf-8", "surrogatepass") if m.id else None, m, headers))
        size += length
    if part:
        yield _batch(part), len(part)


def _headers(m: Message) -> list[tuple[str, bytes]]:
    own = f"{m.lane.name} {m.lane.slice} {m.group or '*'} {m.topic}"
    headers = [(name, value.encode("utf-8", "surrogatepass")) for name, value in m.headers.items()]
    return [*headers, (HEADER, own.encode())]


def _batch(records: Sequence[tuple[bytes | None, Message, list[tuple[str, bytes]]]]) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 30,
    )
    for number, (key, m, headers) in enumerate(records):
        builder.append(number, 0, key, m.body, headers)
    return bytes(builder.build())


def read(part: int, content: bytes, first: int) -> Iterator[Logged]:
    """The records from offset `first` on of what was fetched from a partition, whatever they
    are."""
    for batch in unread.split(content):
        for record in _records(batch):
            if record.offset >= first:
                message = _message(record.key, record.value, record.headers)
                time = record.timestamp / 1000
                yield Logged(part, record.offset, time, message, size_of(message))


def _records(batch: bytes) -> Iterable[Any]:
    try:
        found = MemoryRecords(batch).next_batch()
        if found is None or getattr(found, "is_control_batch", False):
            return ()
        return [*found]
    except (KafkaError, ValueError, RuntimeError):
        return unread.records(batch)


def _message(
    key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]
) -> Message:
    texts = {name: _text(text or b"") for name, text in headers}
    lane, slice_, group, topic = _own(texts.pop(HEADER, ""))
    id_ = _text(key) if key and topic else ""
    return Message(
        id_,
        0,
        topic or TOPIC_UNKNOWN,
        bytes(value or b""),
        MappingProxyType(texts),
        Lane(lane, slice_),
        0.0,
        None if group == "*" else group,
    )


def _text(raw: bytes) -> str:
    """What a publisher wrote as text, whatever it is."""
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return raw.decode("utf-8", "backslashreplace")


def _own(text: str) -> tuple[LaneName, int, str, str]:
    try:
        lane, slice_, group, topic = text.split(" ", 3)
        return LaneName(lane), int(slice_), group, topic
    except ValueError:
        return LaneName.NORMAL, 0, "*", ""


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
