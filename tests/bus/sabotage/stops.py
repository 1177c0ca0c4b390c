"""Promise 23: what a mark stops, and what may start while marks are not known."""

from dataclasses import replace

from typing_extensions import override

from bus.stop_view import StopView
from bus.stops import Mark, Marks, is_stopped
from contracts.envelope import Envelope
from contracts.outcomes import Cancelled
from tests.bus.sabotage.registry import breaks
from workers.engine.halting import Halting
from workers.engine.run import Run

WAITS = "test_what_waits_is_cancelled_and_never_starts"
LATER = "test_what_comes_back_later_is_cancelled"
RUNS = "test_what_runs_is_ended_at_once"


@breaks(23, "test_what_comes_back_is_as_old_as_its_task", LATER, replaces=is_stopped)
def a_copy_is_a_new_task(task: Envelope, group: str, marks: Marks) -> Mark | None:
    """What a run made after the mark is taken for a task published after it."""
    return None if task.copy else is_stopped(task, group, marks)


@breaks(23, "test_what_was_published_before_a_mark_is_stopped", WAITS, replaces=is_stopped)
def only_ids_are_stopped(task: Envelope, group: str, marks: Marks) -> Mark | None:
    """Marks of roles, tenants, subjects and of all are not looked at."""
    mine = {key: mark for key, mark in marks.items() if key.startswith("stop/task/")}
    return is_stopped(task, group, mine)


@breaks(
    23,
    "test_a_dead_letter_that_is_retried_runs_in_spite_of_older_stops",
    replaces=is_stopped,
)
def a_replay_is_as_old_as_its_task(task: Envelope, group: str, marks: Marks) -> Mark | None:
    """That somebody gave a dead letter back is forgotten."""
    return is_stopped(replace(task, extra={}), group, marks)


@breaks(
    23,
    "test_a_view_is_fresh_only_as_long_as_it_is_confirmed",
    "test_a_judgement_waits_until_everything_of_the_last_second_is_known",
    "test_nothing_starts_while_stops_are_not_known",
    "test_a_process_that_stood_still_starts_nothing_on_what_it_knew",
)
class OnceFreshAlwaysFresh(StopView):
    """A view that was told once is believed for ever."""

    @property
    @override
    def fresh(self) -> bool:
        return self._at is not None


@breaks(23, RUNS, "test_the_children_of_a_cancelled_parent_are_ended")
class WhatRunsRunsOn(Halting):
    """Only what has not started is stopped."""

    @override
    def look(self) -> None:
        return


@breaks(23, "test_the_children_of_a_cancelled_parent_are_ended")
class ChildrenGoOn(Halting):
    """What a stopped run has called is not stopped with it, unless by the same mark."""

    @override
    async def _pass_on(self, task: str, reason: str) -> None:
        return


@breaks(23, "test_a_handler_that_swallows_its_cancellation_has_no_result")
class CancelledOnce(Halting):
    """A handler is cancelled once; what it does then is its own affair."""

    @override
    async def _end(self, run: Run, task: str, reason: str) -> None:
        run.stop = None
        run.cancel()


@breaks(23, WAITS, LATER)
class StartsWhatIsStopped(StopView):
    """Nobody looks at the marks before a task starts."""

    @override
    def stopped(self, task: Envelope, group: str) -> Cancelled | None:
        return None
