"""Pulling: own requests to the server, turn by turn, then one waiting request per consumer.

A request without wait asks one consumer for its part of what is still wanted; the server answers
with messages and, short of the number, a 404 (NATS ADR-13). The consumers of one turn are asked
at once. When every lane is empty, a *bell* waits at each consumer: a request for one message, kept
at the server until it rings, runs out, or no pull follows within `_GRACE` of the last one. A pull
that follows asks only where no bell waits; a loop of pulls that find nothing asks nothing anew.
Where a group has more than `_FEW` consumers, each has its bell as soon as it has said that it is
empty: to ask them all takes longer than a message takes to come.
"""

import asyncio
from collections.abc import Sequence

from bus.backend import Delivery, Lane, Turn
from bus.backends.nats import errors
from bus.backends.nats.ear import BELL, Ear
from bus.backends.nats.intake import Intake
from bus.backends.nats.link import NatsLink
from bus.backends.nats.sources import Source
from bus.errors import Unreachable
from bus.turns import even, named, turns_of

_GRACE = 0.005
"""Seconds bells are kept for the next pull."""

_FEW = 4
"""The consumers of a group whose lanes are not cut."""

_DOING = "pulling"


class Puller:
    """One pull at a time; an `Intake` shared by all pulls of a group takes what comes."""

    def __init__(self, link: NatsLink, intake: Intake) -> None:
        self._link = link
        self._intake = intake
        self._ear: Ear | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._published = -1
        self._closing: set[asyncio.Task[None]] = set()

    async def pull(self, wanted: Sequence[Lane | Turn], limit: int, wait: float) -> list[Delivery]:
        """See `Backend.pull`; empty early, with `gone`, when a consumer is not there."""
        turns, lanes = turns_of(wanted, limit), named(wanted)
        self._stay()
        self._intake.enter(lanes)
        try:
            return await self._pull(turns, lanes, limit, wait)
        except Unreachable:
            taken, _ = self._intake.take(turns, limit)
            if taken:
                return taken
            raise
        finally:
            self._intake.leave(lanes)
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_GRACE, self.hang_up)

    @property
    def gone(self) -> str:
        """The consumer that was not there in the last pull."""
        return self._ear.gone if self._ear is not None else ""

    def wake(self) -> None:
        """The binding has changed: look at the new consumers too."""
        if self._ear is not None:
            self._ear.wake()

    def hang_up(self) -> None:
        """No pull is under way and none follows: nothing may be handed out to us."""
        self._stay()
        ear = self._ear
        if ear is not None and ear.has_bells:
            self._leave(ear)

    def _leave(self, ear: Ear) -> None:
        self._ear = None
        ear.close()
        task = asyncio.get_running_loop().create_task(ear.closed())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Hear nothing more."""
        self._stay()
        if self._ear is not None:
            ear, self._ear = self._ear, None
            ear.close()
            await ear.closed()
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _pull(
        self, turns: Sequence[Turn], lanes: Sequence[Lane], limit: int, wait: float
    ) -> list[Delivery]:
        """Nothing is awaited after the last taking."""
        link = self._link
        deadline = link.clock.monotonic() + wait
        # A bell that still waits is the answer, but for what was sent here a moment ago, and for
        # a pull that will not wait for what is coming.
        trusted = wait > 0 and self._published == link.published
        eager = wait > 0 and len(self._intake.sources()) > _FEW
        self._published = -1
        asked = False
        while True:
            ear = self._hearing()
            if not asked:
                await self._ask(ear, turns, limit, trusted=trusted, eager=eager)
            taken, stray = self._intake.take(turns, limit)
            left = deadline - link.clock.monotonic()
            if taken or left <= 0 or ear.gone:
                break
            asked = not stray and await self._listen(ear, lanes, left) and self._hears()
        if not ear.gone:
            self._published = link.published
        return taken

    async def _ask(
        self, ear: Ear, turns: Sequence[Turn], limit: int, *, trusted: bool, eager: bool
    ) -> None:
        """Ask turn by turn as long as there is room, each consumer for its part of what is still
        wanted; one that had less than its part has nothing more."""
        intake, dry = self._intake, set[str]()
        for number, turn in enumerate(turns, 1):
            hungry = [
                source
                for source in intake.askable(turn.lanes)
                if source.consumer not in dry and not (trusted and ear.waits_at(source))
            ]
            while hungry and (room := intake.room(turns[:number], limit)) > 0:
                parts = zip(hungry, even(room, len(hungry)), strict=True)
                questions = [(source, part) for source, part in parts if part]
                dry |= await ear.ask(questions)
                if ear.gone:
                    return
                if eager:
                    self._ring(ear, [source for source, _ in questions if source.consumer in dry])
                hungry = [*hungry[len(questions) :], *(source for source, _ in questions)]
                hungry = [source for source in hungry if source.consumer not in dry]

    async def _listen(self, ear: Ear, lanes: Sequence[Lane], left: float) -> bool:
        """Wait at each consumer; False when they are to be asked again, all or some."""
        intake = self._intake
        self._ring(ear, intake.askable(lanes))
        revision, rest = intake.revision, intake.rest()
        await ear.listen(min(left, rest, ear.patience()))
        intake.sources()
        return intake.revision == revision and rest > left

    def _hears(self) -> bool:
        """Whether there is an inbox, and none of its bells is overdue."""
        return self._ear is not None and self._ear.patience() > 0

    def _ring(self, ear: Ear, sources: Sequence[Source]) -> None:
        ear.ring(sources, BELL * max(_FEW, len(self._intake.sources())))

    def _hearing(self) -> Ear:
        """The inbox; another one where a bell is overdue: nothing may come into it any more."""
        if self._ear is not None and not self._hears():
            self._leave(self._ear)
        if self._ear is None:
            self._ear = Ear(self._link, self._intake)
        self._ear.gone = ""
        return self._ear

    def _stay(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Pulls:
    """All pulls of one group in this process."""

    def __init__(self, link: NatsLink, intake: Intake) -> None:
        self._link = link
        self._intake = intake
        self._idle: list[Puller] = []
        self._busy: set[Puller] = set()

    async def pull(
        self, lanes: Sequence[Lane | Turn], limit: int, wait: float
    ) -> tuple[list[Delivery], str]:
        """What was found, and the consumer that was not there."""
        puller = self._idle.pop() if self._idle else self._new()
        self._busy.add(puller)
        try:
            return await puller.pull(lanes, limit, wait), puller.gone
        finally:
            self._busy.discard(puller)
            self._idle.append(puller)

    def skip(self, consumer: str) -> None:
        """Pull no more from a consumer of an earlier generation: it was drained and deleted."""
        self._intake.skip(consumer)

    def wake(self) -> None:
        """The binding has changed."""
        for puller in self._busy:
            puller.wake()

    async def close(self) -> None:
        """Hear nothing more, and put back what is in hand."""
        self.wake()
        for puller in [*self._idle, *self._busy]:
            await puller.close()
        await self._intake.close()

    def _new(self) -> Puller:
        return Puller(self._link, self._intake)


def vanished(group: str) -> Unreachable:
    """A consumer is not there although the group is bound."""
    return errors.unreachable(_DOING, f"the consumers of {group!r} are gone: bind it again")
