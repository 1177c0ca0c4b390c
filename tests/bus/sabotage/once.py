"""Promise 25: what may be started once, and how it ended."""

from dataclasses import replace

from typing_extensions import override

from bus.claiming import Claims
from bus.claims import Claim
from bus.settling import Finished
from contracts.envelope import Envelope
from contracts.outcomes import Outcome
from tests.bus.sabotage.registry import breaks
from workers.engine import steps
from workers.engine.executor import Executor
from workers.engine.run import Run

AGAIN = "test_a_broker_that_hands_it_out_again_after_its_end_starts_nothing"
LATER = "test_what_is_published_again_long_after_is_not_started_again"
MANY = "test_of_many_who_claim_a_task_one_has_it"
DIES = "test_a_worker_that_dies_after_the_start_leaves_a_dead_letter_of_a_crash"
END = "test_who_meets_a_claim_later_learns_how_it_ended"
FIRST = "test_the_first_end_is_the_end"


@breaks(25, AGAIN, LATER, MANY, DIES)
class EveryClaimIsMine(Claims):
    """Whoever asks for a claim is told that it is theirs."""

    @override
    async def take(
        self, group: str, task: Envelope, *, worker: str, now: float, ttl: float
    ) -> Claim:
        found = await super().take(group, task, worker=worker, now=now, ttl=ttl)
        return replace(found, mine=True)


@breaks(25, AGAIN, END)
class EndsAreForgotten(Claims):
    """A claim never learns how its run ended: what succeeded is taken for a crash."""

    @override
    async def end(self, finished: Finished) -> Finished:
        return finished


@breaks(25, FIRST)
class TheLastEndWins(Claims):
    """An end is written over whatever is there."""

    @override
    async def end(self, finished: Finished) -> Finished:
        task = finished.task
        there = await self.get(finished.delivery.group, task) if task else None
        if finished.claim is None or there is None:
            return finished
        claim = replace(finished.claim, revision=there.revision)
        return await super().end(replace(finished, claim=claim))


@breaks(25, "test_a_drain_that_cuts_it_off_does_not_hand_it_back")
class HandsBackWhatBegan(Executor):
    """A drain gives back what it cuts off, also what may not be started again."""

    @override
    def end_of(self, run: Run, finished: Finished | None) -> Finished | None:
        return super().end_of(run, finished) if finished or run.stop else None


@breaks(25, "test_whatever_a_run_comes_to_it_is_the_only_one", replaces=steps.once)
def snoozes_begin_again(outcome: Outcome) -> Outcome:
    """A handler that puts its task off has it started again."""
    return outcome
