"""Pulling: own requests to the server, lane by lane, then one waiting request per consumer.

A request without wait asks one consumer for all that is still wanted; the server answers with
messages and, short of the number, a 404 (NATS ADR-13). When every lane is empty, a *bell* waits
at each consumer: a request for one message, kept at the server until it rings, runs out, or no
pull follows within `_GRACE` of the last one. A loop of pulls that find nothing goes on with the
same bells and asks nothing anew.
"""

import asyncio
from collections.abc import Sequence

from bus.backend import Delivery, Lane
from bus.backends.nats import errors
from bus.backends.nats.ear import Ear
from bus.backends.nats.intake import Intake
from bus.backends.nats.link import NatsLink
from bus.errors import Unreachable

_GRACE = 0.005
"""Seconds bells are kept for the next pull."""

_DOING = "pulling"


class Puller:
    """One pull at a time; an `Intake` shared by all pulls of a group takes what comes."""

    def __init__(self, link: NatsLink, intake: Intake) -> None:
        self._link = link
        self._intake = intake
        self._ear: Ear | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._quiet = -1
        self._closing: set[asyncio.Task[None]] = set()

    async def pull(self, lanes: Sequence[Lane], limit: int, wait: float) -> list[Delivery]:
        """See `Backend.pull`; empty early, with `gone`, when a consumer is not there."""
        deadline = self._link.clock.monotonic() + wait
        self._stay()
        self._intake.enter(lanes)
        try:
            return await self._pull(lanes, limit, deadline)
        except Unreachable:
            taken, _ = self._intake.take(lanes, limit)
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

    async def _pull(self, lanes: Sequence[Lane], limit: int, deadline: float) -> list[Delivery]:
        """Nothing is awaited after the last taking."""
        link = self._link
        asked = self._quiet == link.writes and self._hears()
        self._quiet = -1
        while True:
            ear = self._hearing()
            if not asked:
                await self._ask(ear, lanes, limit)
            taken, stray = self._intake.take(lanes, limit)
            left = deadline - link.clock.monotonic()
            if taken or left <= 0 or ear.gone:
                break
            asked = not stray and await self._listen(ear, lanes, left) and self._hears()
        if not taken and not ear.gone:
            self._quiet = link.writes
        return taken

    async def _ask(self, ear: Ear, lanes: Sequence[Lane], limit: int) -> None:
        """Ask lane by lane as long as there is room, each for what is still wanted."""
        for number, lane in enumerate(lanes, 1):
            for source in self._intake.askable((lane,)):
                room = limit - self._intake.count(lanes[:number])
                if room <= 0:
                    return
                await ear.ask(source, room)
                if ear.gone:
                    return

    async def _listen(self, ear: Ear, lanes: Sequence[Lane], left: float) -> bool:
        """Wait at each consumer; False when they are to be asked again, all or some."""
        intake = self._intake
        for source in intake.askable(lanes):
            ear.ring(source)
        revision, rest = intake.revision, intake.rest()
        await ear.listen(min(left, rest, ear.patience()))
        intake.sources()
        return intake.revision == revision and rest > left

    def _hears(self) -> bool:
        """Whether there is an inbox, and none of its bells is overdue."""
        return self._ear is not None and self._ear.patience() > 0

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
        self, lanes: Sequence[Lane], limit: int, wait: float
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
