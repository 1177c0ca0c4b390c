"""Promise 20: a worker that is told to stop."""

import asyncio

from typing_extensions import override

from bus.backend import Delivery, Message
from bus.settling import hand_back, to_message
from contracts.envelope import Envelope
from tests.bus.sabotage.registry import breaks
from workers.engine.worker import Worker

QUEUED = "test_what_has_not_started_is_handed_back_at_once_without_an_attempt"
CUT = "test_a_run_that_does_not_end_in_time_is_cut_and_handed_back"


@breaks(20, QUEUED)
class KeepsWhatItHolds(Worker):
    """What has not started waits for its lease to run out."""

    @override
    async def _give_back(self, delivery: Delivery) -> None:
        self._keeper.release(delivery)


@breaks(20, "test_what_runs_is_finished")
class CutsWhatRuns(Worker):
    """What runs is cut off at once, and nobody waits for its end."""

    @override
    async def _finish_runs(self, seconds: float) -> None:
        return


@breaks(20, QUEUED)
class RunsGoFirst(Worker):
    """What has not started is handed back only when the runs have ended."""

    @override
    async def _give_back(self, delivery: Delivery) -> None:
        await asyncio.wait(self._runners, timeout=0.5)
        await super()._give_back(delivery)


@breaks(20, QUEUED, CUT, replaces=hand_back)
def hand_back_uses_an_attempt(delivery: Delivery, task: Envelope | None) -> Message:
    """What is handed back has used an attempt."""
    if task is None:
        return hand_back(delivery, None)
    return to_message(task.again(attempt=task.attempt + 1), group=delivery.group)
