"""What a run leaves behind is made safe: before its input is forgotten, or where it has none."""

from collections.abc import Awaitable, Callable
from typing import Any

from bus.announcing import Announcer
from bus.backend import Backend, Delivery
from bus.deadletters import DeadLetter, DeadLetters
from bus.outcomes import Outcomes
from bus.settling import Finished, Plan
from contracts.envelope import Envelope
from contracts.results import Result

_Persist = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


class Endings:
    """Keeps dead letters and outcomes, and sends the rest of a plan. A broker that is away is
    waited for, as `persist` has it. `bury` puts the dead letter of what is still ours."""

    def __init__(
        self,
        backend: Backend,
        outcomes: Outcomes,
        dead: DeadLetters,
        announcer: Announcer,
        *,
        persist: _Persist,
        bury: Callable[[Delivery, DeadLetter], Awaitable[bool]],
    ) -> None:
        self._backend = backend
        self._outcomes = outcomes
        self._dead = dead
        self._announcer = announcer
        self._persist = persist
        self._bury = bury

    async def keep(self, finished: Finished, settlement: Plan) -> bool:
        """Put what outlives the input: first what is dead, then what somebody asked for. False
        when the task was no longer ours to be declared dead."""
        dead, result = settlement.dead, settlement.result
        if dead is not None:
            delivery = finished.delivery
            if not await self._persist(lambda: self._bury(delivery, dead)):
                return False
        if result is not None and finished.task is not None:
            await self._answer(finished.task, result)
        return True

    async def leave(self, settlement: Plan, task: Envelope) -> None:
        """Make all of a plan safe that has no input to be forgotten: what says that this run's end
        is the one that counts lies elsewhere. Done again, it is the same; returns when all of it
        is safe. Raises what `Backend.settle` raises."""
        dead, result = settlement.dead, settlement.result
        if dead is not None:
            await self._persist(lambda: self._dead.put(dead))
        if result is not None:
            await self._answer(task, result)
        events = [settlement.event] if settlement.event is not None else []
        then = [*settlement.then, *self._announcer.messages(events)]
        await self._persist(lambda: self._backend.settle((), then=then))

    async def _answer(self, task: Envelope, result: Result) -> None:
        """Put what somebody asked for."""
        await self._persist(lambda: self._outcomes.put(task.reply or "", result))
