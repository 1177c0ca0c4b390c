"""Publishing and settling: one script per part of a call, which checks, keeps and forgets at once.

Everything is checked and routed here first, by the bindings of the version that the script is told.
It refuses an older version; then the bindings are read again and the whole call is sent anew: what
was out has known keys. The last part of a settle drops what is settled, those before only look
whether it is ours.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

from bus.backend import MAX_HEADERS, Delivery, Lane, Message, is_owed
from bus.backends.redis.bindings import Bindings, home_of
from bus.backends.redis.errors import Refused
from bus.backends.redis.link import RedisLink
from bus.backends.redis.messages import payload_of
from bus.backends.redis.outgoing import (
    Held,
    Outgoing,
    by_line,
    parts,
    size_of,
    told_messages,
    told_receipts,
)
from bus.backends.redis.room import Room
from bus.backends.redis.scripts import COMMIT, PUBLISH, Script
from bus.backends.redis.wire import Argument
from bus.errors import Full, Unroutable
from bus.fullness import FOLLOW_UPS, MAX_BYTES, SHARE
from bus.sizes import check_sizes

_STALE = -1
_FULL = -2


class Committer:
    """Sends messages, and settles what they replace, so that both are safe when a call returns."""

    def __init__(self, link: RedisLink, bindings: Bindings, room: Room) -> None:
        self._link = link
        self._bindings = bindings
        self._room = room

    async def publish(self, messages: Sequence[Message], *, follow_up: bool) -> None:
        """See `Backend.publish`."""
        if not messages:
            await self._link.ready("publishing")
            return
        try:
            await self._commit(PUBLISH, {}, messages, FOLLOW_UPS if follow_up else SHARE)
        except Full as error:
            if not isinstance(error.__cause__, Refused):
                raise
            raise await self._room.full(error.details) from error.__cause__

    async def settle(
        self, deliveries: Sequence[Delivery], then: Sequence[Message]
    ) -> list[Delivery]:
        """See `Backend.settle`."""
        held = by_line(deliveries)
        if not held and not then:
            await self._link.ask("PING", doing="settling")
            return []
        lost = await self._commit(COMMIT, held, then, 0.0)
        if not lost:
            return []
        receipts = [receipt for of_line in held.values() for receipt in of_line]
        others = {receipts[number - 1] for number in lost}
        return [delivery for delivery in deliveries if delivery.receipt in others]

    async def _commit(
        self, script: Script, held: Held, messages: Sequence[Message], share: float
    ) -> list[int]:
        """All, on the bindings of now: an older view is neither obeyed nor an error. Which receipts
        are not ours, counted from 1."""
        doing = "settling" if script is COMMIT else "publishing"
        fresh = False
        while True:
            try:
                routed = list(self._routed(messages, owed=script is PUBLISH))
            except Unroutable:
                if fresh:
                    raise
            else:
                answer = await self._send(script, held, routed, share, bool(messages))
                if answer is not None:
                    return answer
            await self._bindings.look(doing)
            fresh = True

    async def _send(
        self,
        script: Script,
        held: Held,
        routed: Sequence[Outgoing],
        share: float,
        versioned: bool,
    ) -> list[int] | None:
        """As `_commit`; None where the bindings have changed."""
        size = size_of(routed) if share else 0
        if share:
            await self._room.admit(size, share)
        version: Argument = self._bindings.version if versioned else "-"
        cut = [*parts(routed)] or [()]
        receipts = told_receipts(held)
        lost: list[int] = []
        for number, part in enumerate(cut, 1):
            last = number == len(cut)
            head = (version, size if number == 1 else 0, share, MAX_BYTES, int(last))
            arguments = (*head, *receipts, *told_messages(part))
            if not last:
                await self._link.drained()
            answer = await self._link.run(
                script, *arguments, doing="publishing" if share else "settling"
            )
            if answer == _STALE:
                return None
            if answer and answer[0] == _FULL:
                raise await self._room.refusal(answer[1], size, answer[2])
            lost = answer
            if lost and len(lost) == sum(map(len, held.values())):
                break
        return lost

    def _routed(self, messages: Iterable[Message], *, owed: bool) -> Iterator[Outgoing]:
        """What is to be sent; raises `Unroutable` and `TooLarge`. What nobody wants or is owed is
        dropped."""
        before: object = None
        lines = ""
        for m in messages:
            lane = home_of(m) if m.due or m.copy else m.lane
            if (place := (m.topic, m.group, lane)) != before:
                before, lines = place, self._lines(m, lane)
            if not lines:
                if owed and is_owed(m):
                    raise self._bindings.unroutable(m)
            elif m.due:
                yield from self._delayed(m, lines)
            else:
                yield lines, m.key() if m.id else "", _payload(m, m.group), 0

    def _lines(self, m: Message, lane: Lane) -> str:
        """Where a message goes, what nobody wants nowhere. Raises `Unroutable` where its group is
        not bound."""
        bindings = self._bindings
        if m.group is None:
            return bindings.route(m.topic, lane)
        if bindings.get(m.group) is None:
            raise bindings.unroutable(m)
        return bindings.line(m.group, lane)

    @staticmethod
    def _delayed(m: Message, lines: str) -> Iterator[Outgoing]:
        """One of its own for each group, due at the next millisecond."""
        due = math.ceil(m.due * 1000)
        for line in lines.split(" "):
            group = line.partition(":")[0]
            yield line, m.key(group) if m.id else "", _payload(m, group), due


def _payload(m: Message, group: str | None) -> bytes:
    """As `payload_of`; raises `TooLarge`. Nothing in it is larger than the whole."""
    payload = payload_of(m, group)
    if len(payload) > MAX_HEADERS:
        check_sizes((m,))
    return payload
