"""Claiming: of each dedupe key the first transmission is handed out, and each time is counted."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from bus.backend import Lane
from bus.backends.rabbitmq.feed import Feed
from bus.backends.rabbitmq.held import Held, Holding
from bus.backends.rabbitmq.link import RabbitLink
from bus.backends.rabbitmq.wire import Received, received
from bus.errors import BusError
from bus.parking.bindings import Binding
from bus.parking.parking import Mark, Place, Transmission, new_owner

_AGAIN = 0.5
"""Seconds until a database that does not answer is tried again."""

Raw = tuple[Feed, Any]
"""A delivery of the client library, and where it came."""


class Claimer:
    """Makes receipts of what a pull has found."""

    def __init__(self, link: RabbitLink, holding: Holding) -> None:
        self._link = link
        self._parking = holding.parking
        self._lease = holding.lease

    async def take(self, binding: Binding, rows: Mapping[Place, int]) -> list[Held]:
        """Rows of these places."""
        born = self._link.clock.monotonic()
        until = born + self._lease
        loop = asyncio.get_running_loop()
        owner = new_owner()
        try:
            found = await self._parking.take(binding.gid, rows, owner)
        except BusError:
            self._untake(binding, owner)
            raise
        return [
            Held(mark, message, born, until, loop, earlier=mark.handed - 1)
            for mark, message, _ in found
        ]

    def put_back(self, binding: Binding, taken: Sequence[Held]) -> None:
        """These rows of one `take` are handed to nobody."""
        if taken:
            self._untake(binding, taken[0].mark.owner)

    def _untake(self, binding: Binding, owner: int) -> None:
        if not self._link.is_closed:
            self._link.spawn(self._until_done(lambda: self._parking.untake(binding.gid, owner)))

    async def unsee(self, found: Sequence[Held]) -> None:
        """Nobody was shown these: they may be handed out at once, or as soon as the database can
        say so. Until then they wait here: whoever got them would have to ask it, too."""
        marks = [held.mark for held in found]
        here = [(held.feed, held.tag) for held in found if held.feed is not None]
        for feed, _ in here:
            feed.claiming += 1
        try:
            await self._until_done(lambda: self._parking.back(marks))
            for feed, tag in here:
                await feed.requeue([tag])
        finally:
            for feed, _ in here:
                feed.claiming -= 1

    async def claim(
        self, binding: Binding, raws: Sequence[tuple[Lane, Raw]]
    ) -> list[tuple[Lane, Held]]:
        """Those that are the first transmission of their key; others are acknowledged unrun."""
        found: list[tuple[Lane, Held]] = []
        now = self._link.clock.wall()
        every = [(lane, raw, received(raw[1], now)) for lane, raw in raws]
        left: Sequence[tuple[Lane, Raw, Received]] = every
        for _, (feed, _) in raws:
            feed.claiming += 1
        try:
            while left:
                batch: dict[str, tuple[Lane, Raw, Received]] = {}
                again = []
                for each in left:  # a statement may not touch a row twice
                    if each[2].key in batch:
                        again.append(each)
                    else:
                        batch[each[2].key] = each
                found += await self._claim_batch(binding, batch)
                left = again
        except BaseException:
            for _, (feed, raw) in reversed(raws):
                feed.buffer.appendleft(raw)
            self._doubt(binding, [(raw, got) for _, raw, got in every])
            raise
        finally:
            for _, (feed, _) in raws:
                feed.claiming -= 1
        return found

    def _doubt(self, binding: Binding, raws: Sequence[tuple[Raw, Received]]) -> None:
        """These may have been counted and were not handed out: they stay here until a claim is
        answered, or the count is taken back. What had been delivered before is not among them: of
        that nobody can tell."""
        doubted = []
        for (feed, raw), got in raws:
            if not raw.delivery.redelivered:
                feed.doubted.add(raw.delivery_tag)
                mark = Mark(binding.gid, got.key, got.nonce, 1)
                doubted.append((feed, int(raw.delivery_tag), mark))
        if doubted and not self._link.is_closed:
            self._link.spawn(self._until_done(lambda: self._uncount(doubted)))

    async def _uncount(self, doubted: Sequence[tuple[Feed, int, Mark]]) -> None:
        left = [each for each in doubted if each[1] in each[0].doubted]
        await self._parking.back([mark for _, _, mark in left])
        for feed, tag, _ in left:
            feed.doubted.discard(tag)
        for feed in {feed for feed, _, _ in left}:
            feed.home.leave(feed.queue)

    async def _until_done(self, work: Callable[[], Awaitable[None]]) -> None:
        """Try again until the database answers."""
        while True:
            with suppress(BusError):
                return await work()
            await self._link.clock.sleep(_AGAIN)

    async def _claim_batch(
        self, binding: Binding, batch: Mapping[str, tuple[Lane, Raw, Received]]
    ) -> list[tuple[Lane, Held]]:
        born = self._link.clock.monotonic()
        until = born + self._lease
        loop = asyncio.get_running_loop()
        seen = [
            Transmission(key, got.nonce, got.message.lane, got.sent)
            for key, (_, _, got) in batch.items()
        ]
        handed = await self._parking.claim(binding.gid, seen)
        found = []
        repeated: dict[Feed, list[int]] = defaultdict(list)
        for key, (lane, (feed, raw), got) in batch.items():
            if key in handed:
                mark = Mark(binding.gid, key, got.nonce, handed[key])
                held = Held(mark, got.message, born, until, loop, feed, raw.delivery_tag)
                held.earlier = 0 if raw.delivery_tag in feed.doubted else mark.handed - 1
                feed.doubted.discard(raw.delivery_tag)
                found.append((lane, held))
            else:
                repeated[feed].append(raw.delivery_tag)
        for feed, tags in repeated.items():
            await feed.ack(tags)
        return found
