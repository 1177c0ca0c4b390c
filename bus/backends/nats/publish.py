"""Publishing: everything is checked and routed first, then sent in atomic batches.

A batch (NATS ADR-50) is written in one piece, so this connection never has two open on a
stream: the server has committed one before it reads the next. A batch with one known key is
rejected as a whole (10201) and then repeated message by message, all at once.
"""

import asyncio
import json
import random
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any

from bus.backend import LaneName, Message, is_owed
from bus.backends.nats import errors
from bus.backends.nats.bindings import Bindings
from bus.backends.nats.gauge import Gauge
from bus.backends.nats.link import NatsLink
from bus.backends.nats.wire import DUE, KEY, MSG_ID, encode_key, header_lines, hpub
from bus.sizes import check_sizes
from bus.unbound import unroutable

_BATCH = 510
"""Messages in one atomic batch: 500 tasks and what tells of them. The server takes 1,000."""
_BATCH_BYTES = 8 * 1024 * 1024
_BUSY_TRIES = 10
_BUSY_FIRST = 0.005
_STALE = 1.0
"""Seconds after which bindings are read again before a message nobody is owed is dropped."""

_DOING = "publishing"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message ready to be sent: `lines` are its header lines."""

    stream: str
    subject: str
    lines: bytes
    body: bytes
    key: str


class Publisher:
    """Sends messages so that they are safe on disk when the call returns."""

    def __init__(self, link: NatsLink, bindings: Bindings, gauge: Gauge) -> None:
        self._link = link
        self._bindings = bindings
        self._gauge = gauge
        self._id = secrets.token_hex(6)
        self._numbers = count()

    async def publish(
        self, messages: Sequence[Message], *, owed: bool = True, follow_up: bool = False
    ) -> None:
        """See `Backend.publish`. With `owed` False, a message routed by topic that no group
        wants is dropped, and a full broker is no reason to refuse (see `Backend.settle`)."""
        check_sizes(messages)
        await self._link.ready(_DOING)
        now = self._link.clock.wall()
        missing = self._missing(messages)
        refused = _refused(missing, owed)
        if any(m.group is None and _comes_back(m) for m in messages) or (
            missing and (refused or self._bindings.age() > _STALE)
        ):
            await self._bindings.refresh()
            missing = self._missing(messages)
            refused = _refused(missing, owed)
        if missing:
            if refused:
                raise unroutable(refused[0], self._bindings.groups())
            gone = set(map(id, missing))
            messages = [m for m in messages if id(m) not in gone]
        routed = list(self._routed(messages, now))
        if owed:
            size = sum(len(m.lines) + len(m.body) for m in routed)
            await self._gauge.admit(size, follow_up=follow_up)
        await self.send(routed)

    async def send(self, messages: Iterable[Outgoing]) -> None:
        """Send what is routed; each key once."""
        self._link.published += 1
        streams: dict[str, dict[str, Outgoing]] = {}
        for number, message in enumerate(messages):
            streams.setdefault(message.stream, {}).setdefault(message.key or str(number), message)
        for found in streams.values():
            await self._send_stream(list(found.values()))

    def _missing(self, messages: Sequence[Message]) -> list[Message]:
        targets, get = self._bindings.targets, self._bindings.get
        return [
            m
            for m in messages
            if not (targets(m.topic) if m.group is None else get(m.group) is not None)
        ]

    def _routed(self, messages: Sequence[Message], now: float) -> Iterator[Outgoing]:
        for m in messages:
            if not _comes_back(m):
                yield self._immediate(m)
                continue
            groups = self._bindings.targets(m.topic) if m.group is None else (m.group,)
            for group in groups:
                yield self._schedule(m, group) if m.due > now else self._retry(m, group)

    def _immediate(self, m: Message) -> Outgoing:
        names = self._link.names
        if m.group is None:
            subject = names.subject(m.topic, m.lane)
        else:
            subject = names.direct(m.group, m.topic, m.lane)
        key = encode_key(m.id, m.group, m.copy)
        name = MSG_ID if m.id else KEY
        lines = header_lines(m.headers) + f"{name}: {key}\r\n".encode()
        return Outgoing(names.tasks, subject, lines, m.body, key if m.id else "")

    def _retry(self, m: Message, group: str) -> Outgoing:
        """Into the retry lane of one group, which has its place in the later stream."""
        names = self._link.names
        key = encode_key(m.id, group, m.copy)
        lines = header_lines(m.headers) + f"{MSG_ID if m.id else KEY}: {key}\r\n".encode()
        if m.due:
            lines += f"{DUE}: {m.due!r}\r\n".encode()
        subject = names.retry(group, m.topic, m.lane)
        return Outgoing(names.later, subject, lines, m.body, key if m.id else "")

    def _schedule(self, m: Message, group: str) -> Outgoing:
        """One subject per copy: two schedules on one subject replace each other. The server
        strips the message id when it fires, so the key travels in a header of ours too."""
        names = self._link.names
        key = encode_key(m.id, group, m.copy)
        word = m.id or secrets.token_hex(8)
        lines = (
            header_lines(m.headers)
            + (
                (f"{MSG_ID}: {key}\r\n" if m.id else "") + f"{KEY}: {key}\r\n{DUE}: {m.due!r}\r\n"
                f"Nats-Schedule: @at {_rfc3339(m.due)}\r\n"
                f"Nats-Schedule-Target: {names.retry(group, m.topic, m.lane)}\r\n"
            ).encode()
        )
        subject = names.schedule(group, m.lane, word, m.copy)
        return Outgoing(names.later, subject, lines, m.body, f"s{key}" if m.id else "")

    async def _send_stream(self, messages: Sequence[Outgoing]) -> None:
        if len(messages) == 1:
            await self._send_each(messages)
            return
        parts = [(part, *self._write_batch(part)) for part in _parts(messages)]
        try:
            for part, reply, future in parts:
                await self._link.drained()
                await self._finish_batch(part, reply, future)
        finally:
            for _, reply, future in parts:
                self._link.ignore(reply)
                future.cancel()

    def _write_batch(
        self, part: Sequence[Outgoing]
    ) -> "tuple[str, asyncio.Future[tuple[bytes, bytes | None]]]":
        batch = f"{self._id}{next(self._numbers)}"
        reply, future = self._link.reply_future()
        last = len(part)
        commands = [
            hpub(
                m.subject,
                "" if number < last else reply,
                m.lines
                + f"Nats-Batch-Id: {batch}\r\nNats-Batch-Sequence: {number}\r\n".encode()
                + (b"" if number < last else b"Nats-Batch-Commit: 1\r\n"),
                m.body,
            )
            for number, m in enumerate(part, 1)
        ]
        self._link.send(b"".join(commands), _DOING)
        return reply, future

    async def _finish_batch(
        self,
        part: Sequence[Outgoing],
        reply: str,
        future: "asyncio.Future[tuple[bytes, bytes | None]]",
    ) -> None:
        pause = _BUSY_FIRST
        for _ in range(_BUSY_TRIES):
            body, _headers = await self._link.wait_for(reply, future, _DOING)
            error = json.loads(body or b"{}").get("error")
            if error is None:
                return
            if error.get("err_code") == errors.KNOWN_KEY:
                await self._send_each(part)
                return
            if error.get("err_code") not in errors.NOT_BEGUN:
                raise errors.refusal(error, _DOING)
            await asyncio.sleep(random.uniform(0, pause))
            pause *= 2
            reply, future = self._write_batch(part)
        raise errors.unreachable(_DOING, "too many batches are open on the stream")

    async def _send_each(self, messages: Sequence[Outgoing]) -> None:
        """One by one, without waiting in between: a known key is answered as a duplicate."""
        waiting: list[tuple[str, asyncio.Future[tuple[bytes, bytes | None]]]] = []
        commands: list[bytes] = []
        for m in messages:
            reply, future = self._link.reply_future()
            waiting.append((reply, future))
            commands.append(hpub(m.subject, reply, m.lines, m.body))
        try:
            self._link.send(b"".join(commands), _DOING)
            for reply, future in waiting:
                body, _ = await self._link.wait_for(reply, future, _DOING)
                answer: dict[str, Any] = json.loads(body)
                if "error" in answer:
                    raise errors.refusal(answer["error"], _DOING)
        finally:
            for reply, future in waiting:
                self._link.ignore(reply)
                future.cancel()


def _refused(missing: Sequence[Message], owed: bool) -> list[Message]:
    """Of what has no group, what must have one; with `owed` False, only what names it."""
    return [m for m in missing if m.group is not None or (owed and is_owed(m))]


def _comes_back(m: Message) -> bool:
    """Whether it belongs into a retry lane: one copy for each group, routed when published."""
    return bool(m.due or m.copy or m.lane.name is LaneName.RETRY)


def _parts(messages: Sequence[Outgoing]) -> Iterator[Sequence[Outgoing]]:
    """Cut into batches by number and bytes."""
    start, size = 0, 0
    for end, message in enumerate(messages):
        size += len(message.body)
        if end > start and (end - start >= _BATCH or size > _BATCH_BYTES):
            yield messages[start:end]
            start, size = end, len(message.body)
    if start < len(messages):
        yield messages[start:]


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
