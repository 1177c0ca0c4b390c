"""Settling: what runs leave behind is made safe, then their inputs are forgotten together."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

from bus.announcing import Announcer
from bus.backend import Backend, Delivery
from bus.batching import Batcher
from bus.errors import BusError
from bus.settling import Plan
from contracts.events import TERMINAL, Event

_MOST = 500
"""Inputs that are forgotten in one call."""


class _Settle(NamedTuple):
    """One input to forget and what must exist afterwards."""

    delivery: Delivery
    plan: Plan


class Forgetter:
    """Joins concurrent settles; the terminal events of a joined call are part of it. `heard` is
    called when the broker has answered."""

    def __init__(self, backend: Backend, announcer: Announcer, heard: Callable[[], None]) -> None:
        self._backend = backend
        self._heard = heard
        self._announcer = announcer
        self._batcher = Batcher(self._settle_batch, limit=_MOST, lanes=2)

    def forget(self, delivery: Delivery, plan: Plan) -> Awaitable[bool]:
        """Send what `plan` leaves behind, forget `delivery`; False when it was no longer ours,
        and then nothing is sent. Raises what `Backend.settle` raises for this input."""
        ours: asyncio.Future[Any] = self._batcher.ask_one(_Settle(delivery, plan))
        return ours

    async def close(self) -> None:
        """Finish what was asked."""
        await self._batcher.close()

    async def _settle_batch(self, items: Sequence[_Settle]) -> Sequence[bool | BaseException]:
        """Settle joined inputs; their terminal events are one message of `then`.

        An input that leaves something behind is settled in a call of its own: were it no longer
        ours, nothing of it may be sent. Each input's answer is whether it was ours, or its own
        error: nobody settles twice because another could not.
        """
        own = [[item] for item in items if item.plan.then]
        if not own:
            return _answers(items, await self._settle_group(items))
        plain = [item for item in items if not item.plan.then]
        groups = [plain, *own] if plain else own
        ends: dict[int, bool | BaseException] = {}
        found = await asyncio.gather(*map(self._settle_group, groups), return_exceptions=True)
        for group, end in zip(groups, found, strict=True):
            if isinstance(end, BaseException):
                ends.update((id(item), end) for item in group)
            else:
                ends.update(zip(map(id, group), _answers(group, end), strict=True))
        return [ends[id(item)] for item in items]

    async def _settle_group(self, items: Sequence[_Settle]) -> list[Delivery]:
        """The start of a run that is told by its end leaves no event of its own; that of a run
        whose end is not accepted does."""
        forget = self._announcer.forget_start
        starts = {item.delivery: forget(item.delivery) for item in items if item.plan.event}
        lost: Sequence[Delivery] = tuple(starts)
        try:
            lost = found = await self._settle_joined(items)
        finally:
            for delivery in lost:
                if (made := starts.get(delivery)) is not None:
                    self._announcer.tell_start(delivery, made)
        return found

    async def _settle_joined(self, items: Sequence[_Settle]) -> list[Delivery]:
        events = [item.plan.event for item in items if item.plan.event is not None]
        terminal = [event for event in events if event.kind in TERMINAL]
        untold = self._announcer.take() if terminal else []
        then = [message for item in items for message in item.plan.then]
        then += self._announcer.messages([*untold, *terminal])
        deliveries = [item.delivery for item in items]
        try:
            lost = await self._backend.settle(deliveries, then=then)
        except BusError:
            self._tell_all(untold)
            raise
        if len(lost) == len(deliveries):
            self._tell_all(untold)
            return lost
        self._heard()
        if not lost:
            self._tell_all(event for event in events if event.kind not in TERMINAL)
        return lost

    def _tell_all(self, events: Iterable[Event]) -> None:
        for event in events:
            self._announcer.tell(event)


def _answers(items: Sequence[_Settle], lost: Sequence[Delivery]) -> list[bool]:
    """Whether each was ours."""
    if not lost:
        return [True] * len(items)
    others = set(map(id, lost))
    return [id(item.delivery) not in others for item in items]
