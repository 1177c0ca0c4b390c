"""Promise 14: whom a crash is counted against, and how often."""

from dataclasses import replace

from bus.backend import Delivery
from bus.settling import Finished
from bus.suspects import Blame, crashed, unbegun
from tests.bus.sabotage.registry import breaks

DEAD = "test_when_its_attempts_are_used_up_it_is_a_dead_letter_of_a_crash"
SUSPECT = "test_what_comes_back_is_shown_as_a_suspect_copy_with_its_attempt_used_up"
BEGUN = "test_a_last_attempt_that_never_began_is_not_used_up"
ONCE = "test_one_attempt_is_used_up_however_many_hand_overs_were_not_answered"


@breaks(14, DEAD, SUSPECT, replaces=crashed)
def crashes_do_not_count(delivery: Delivery, blame: Blame, now: float) -> Finished | None:
    """What comes back from a crash is handed out as if nothing had happened."""
    return None


@breaks(14, BEGUN, replaces=unbegun)
def everything_in_hand_has_begun(finished: Finished) -> Finished:
    """A last attempt counts though its handler was never called."""
    return finished


@breaks(14, ONCE, replaces=crashed)
def each_hand_over_counts(delivery: Delivery, blame: Blame, now: float) -> Finished | None:
    """An attempt is used up for each hand-over that nobody answered."""
    finished = crashed(delivery, blame, now)
    if finished is None or finished.task is None:
        return finished
    more = finished.task.attempt + delivery.earlier - 1
    return replace(finished, task=replace(finished.task, attempt=more))
