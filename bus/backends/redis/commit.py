"""Publishing and settling: one script per part of a call, which checks, keeps and forgets at once.

Everything is checked and routed here first, by the bindings of the version that the script is told.
It refuses an older version; then the bindings are read again and the whole call is sent anew: what
was out has known keys. The last part of a settle drops what is settled, those before only look
whether it is ours.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from bus.backend import Delivery, Message, is_owed
from bus.backends.redis.bindings import Bindings, home_of
from bus.backends.redis.errors import Refused
from bus.backends.redis.link import RedisLink
from bus.backends.redis.messages import payload_of
from bus.backends.redis.room import Room
from bus.backends.redis.scripts import COMMIT, PUBLISH, Script
from bus.backends.redis.wire import Argument
from bus.errors import Full, Unroutable
from bus.fullness import FOLLOW_UPS, MAX_BYTES, SHARE
from bus.sizes import check_sizes
from contracts.quick import quick

_PART = 500
"""Messages in one script: it runs for some milliseconds, in which nobody else is served."""

_PART_BYTES = 4 * 1024 * 1024

_STALE = -1
_FULL = -2


@quick
@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message ready to be sent, to some lines; with `due` (milliseconds) to one."""

    lines: str
    key: str
    payload: bytes
    due: int = 0


class Committer:
    """Sends messages, and settles what they replace, so that both are safe when a call returns."""

    def __init__(self, link: RedisLink, bindings: Bindings, room: Room) -> None:
        self._link = link
        self._bindings = bindings
        self._room = room

    async def publish(self, messages: Sequence[Message], *, follow_up: bool) -> None:
        """See `Backend.publish`."""
        check_sizes(messages)
        if not messages:
            await self._link.ready("publishing")
            return
        try:
            await self._commit(PUBLISH, (), messages, FOLLOW_UPS if follow_up else SHARE)
        except Full as error:
            if not isinstance(error.__cause__, Refused):
                raise
            raise await self._room.full(error.details) from error.__cause__

    async def settle(
        self, deliveries: Sequence[Delivery], then: Sequence[Message]
    ) -> list[Delivery]:
        """See `Backend.settle`."""
        check_sizes(then)
        receipts = {delivery.receipt: None for delivery in deliveries}
        if not receipts and not then:
            await self._link.ask("PING", doing="settling")
            return []
        flags = await self._commit(COMMIT, list(receipts), then, 0.0)
        if all(flags):
            return []
        mine = {receipt for receipt, flag in zip(receipts, flags, strict=True) if flag}
        return [delivery for delivery in deliveries if delivery.receipt not in mine]

    async def _commit(
        self, script: Script, receipts: Sequence[object], messages: Sequence[Message], share: float
    ) -> list[int]:
        """All, on the bindings of now: an older view is neither obeyed nor an error."""
        doing = "settling" if script is COMMIT else "publishing"
        fresh = False
        while True:
            try:
                routed = list(self._routed(messages, owed=script is PUBLISH))
            except Unroutable:
                if fresh:
                    raise
            else:
                answer = await self._send(script, receipts, routed, share, bool(messages))
                if answer is not None:
                    return answer
            await self._bindings.look(doing)
            fresh = True

    async def _send(
        self,
        script: Script,
        receipts: Sequence[object],
        routed: Sequence[Outgoing],
        share: float,
        versioned: bool,
    ) -> list[int] | None:
        """The flags of the receipts; None where the bindings have changed."""
        size = sum(len(m.payload) * (m.lines.count(" ") + 1) for m in routed) if share else 0
        if share:
            await self._room.admit(size, share)
        version: Argument = self._bindings.version if versioned else "-"
        parts = [*_parts(routed)] or [()]
        flags: list[int] = []
        for number, part in enumerate(parts, 1):
            last = number == len(parts)
            head = (version, size if number == 1 else 0, share, MAX_BYTES, int(last))
            arguments = _arguments(receipts, part)
            if not last:
                await self._link.drained()
            answer = await self._link.run(
                script, *head, *arguments, doing="publishing" if share else "settling"
            )
            if answer == _STALE:
                return None
            if answer and answer[0] == _FULL:
                raise await self._room.refusal(answer[1], size, answer[2])
            flags = answer
            if receipts and not any(flags):
                break
        return flags

    def _routed(self, messages: Iterable[Message], *, owed: bool) -> Iterator[Outgoing]:
        """What is to be sent; raises `Unroutable`. What nobody wants or is owed is dropped."""
        bindings, route = self._bindings, self._bindings.route
        for m in messages:
            lane = home_of(m) if m.due or m.copy else m.lane
            if m.group is not None:
                if bindings.get(m.group) is None:
                    raise bindings.unroutable(m)
                lines = bindings.line(m.group, lane)
            else:
                lines = route(m.topic, lane)
                if not lines:
                    if owed and is_owed(m):
                        raise bindings.unroutable(m)
                    continue
            if m.due:
                yield from self._delayed(m, lines)
            else:
                yield Outgoing(lines, m.key() if m.id else "", payload_of(m, m.group))

    @staticmethod
    def _delayed(m: Message, lines: str) -> Iterator[Outgoing]:
        """One of its own for each group, due at the next millisecond."""
        due = math.ceil(m.due * 1000)
        for line in lines.split(" "):
            group = line.partition(":")[0]
            yield Outgoing(line, m.key(group) if m.id else "", payload_of(m, group), due)


def _arguments(receipts: Sequence[object], part: Sequence[Outgoing]) -> list[Argument]:
    """The rest of what the script is told, after the first five."""
    found: Iterable[Argument] = chain.from_iterable(receipts)  # type: ignore[arg-type]
    routes: dict[str, int] = {}
    direct: list[Argument] = []
    later: list[Argument] = []
    for m in part:
        if m.due:
            later += (m.lines, m.due, m.key, m.payload)
        else:
            direct += (routes.setdefault(m.lines, len(routes) + 1), m.key, m.payload)
    return [len(receipts), *found, len(routes), *routes, len(direct) // 3, *direct, *later]


def _parts(messages: Sequence[Outgoing]) -> Iterator[Sequence[Outgoing]]:
    """Cut by number and bytes."""
    start = size = 0
    for end, message in enumerate(messages):
        size += len(message.payload)
        if end > start and (end - start >= _PART or size > _PART_BYTES):
            yield messages[start:end]
            start, size = end, len(message.payload)
    if start < len(messages):
        yield messages[start:]
