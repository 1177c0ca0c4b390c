"""Routing what lies in the inlet, by the bindings of now.

One script gives a part of it to the groups and removes it, or does neither. What another process
has routed meanwhile is left out; what no group wants, or is no task, is parked.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from bus.backend import Message
from bus.backends.redis.bindings import Bindings
from bus.backends.redis.entries import entries_of
from bus.backends.redis.link import RedisLink
from bus.backends.redis.messages import payload_of
from bus.backends.redis.outgoing import PART_BYTES, Outgoing, size_of, told_messages
from bus.backends.redis.room import Room
from bus.backends.redis.scripts import INGEST, PARK
from bus.backends.redis.wire import Argument
from bus.errors import Full, TooLarge
from bus.fullness import AGAIN, MAX_BYTES, SHARE
from bus.ingress import message_of
from bus.sizes import check_sizes
from contracts.errors import DecodeError

INLET = ":in"
"""Of the stream that others write, behind the prefix of the fleet."""

PARKED = ":in:parked"

READERS = "muster"
"""The consumer group of the inlet."""

_DOING = "routing the ingress"
_STALE, _FULL, _GONE = -1, -2, -3

_log = logging.getLogger(__name__)

Routed = tuple[str, Outgoing]
"""Entry, and the message that it is."""


class Router:
    """Routes for one process."""

    def __init__(self, link: RedisLink, bindings: Bindings, room: Room) -> None:
        self._link = link
        self._bindings = bindings
        self._room = room

    async def route(self, stream: str, found: Sequence[Any]) -> None:
        """Route these entries of the inlet, or of what was parked. While the broker is full they
        wait. Raises bus errors: what was not routed is then where it was."""
        wanted, others = self._tasks(stream, found)
        most = PART_BYTES
        while wanted:
            lines = await self._lines(wanted)
            others += [id_ for id_ in wanted if not lines[id_]]
            wanted = {id_: m for id_, m in wanted.items() if lines[id_]}
            part = _part(wanted, lines, most)
            try:
                done = await self._send(stream, part) if part else ()
            except Full:
                most //= 2  # less may fit
                await self._link.clock.sleep(0 if len(part) > 1 else AGAIN)
            else:
                for id_ in done:
                    del wanted[id_]
        if others and stream == INLET:
            await self._link.run(PARK, READERS, *others, doing=_DOING)

    def _tasks(self, stream: str, found: Sequence[Any]) -> tuple[dict[str, Message], list[str]]:
        """Those that can be routed, and the entries that cannot, whatever is bound."""
        tasks: dict[str, Message] = {}
        others: list[str] = []
        for entry in entries_of(found):
            place = f"{stream[1:].replace(':', '-')}-{entry.id}"
            try:
                message = message_of(entry.headers, entry.body, place=place)
                check_sizes([message])
            except (DecodeError, TooLarge) as error:
                _log.warning("no task, in %s%s: %s", self._link.prefix, stream, error)
                others.append(entry.id)
            else:
                tasks[entry.id] = message
        return tasks, others

    async def _lines(self, wanted: Mapping[str, Message]) -> Mapping[str, str]:
        """The lines of all groups that want each; the bindings are read before none is said."""
        route = self._bindings.route
        lines = {id_: route(m.topic, m.lane) for id_, m in wanted.items()}
        if not all(lines.values()):
            await self._bindings.look(_DOING)
            lines = {id_: route(m.topic, m.lane) for id_, m in wanted.items()}
        return lines

    async def _send(self, stream: str, part: Sequence[Routed]) -> list[str]:
        """The entries that need no routing any more: none where it is to be tried again. Raises
        `Full`."""
        messages = [message for _, message in part]
        size = size_of(messages)
        await self._room.admit(size, SHARE)
        entries = [entry for entry, _ in part]
        head: tuple[Argument, ...] = (stream, READERS, len(entries), *entries)
        terms = (self._bindings.version, size, SHARE, MAX_BYTES, 1, 0)
        told = told_messages(messages)
        answer = await self._link.run(INGEST, *head, *terms, *told, doing=_DOING)
        if answer == _STALE:
            await self._bindings.look(_DOING)
            return []
        if answer and answer[0] == _FULL:
            raise await self._room.refusal(answer[1], size, answer[2])
        if answer and answer[0] == _GONE:
            return [entries[number] for number in answer[1:]]
        return entries


def _part(wanted: Mapping[str, Message], lines: Mapping[str, str], most: int) -> list[Routed]:
    """The first of them, for one script: of `most` bytes, or one."""
    part: list[Routed] = []
    size = 0
    for id_, message in wanted.items():
        payload = payload_of(message, None)
        size += len(payload)
        if part and size > most:
            break
        part.append((id_, (lines[id_], message.key(), payload, 0)))
    return part
