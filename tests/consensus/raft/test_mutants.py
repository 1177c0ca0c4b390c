"""Each rule of the core has a test that fails without it: a test that no mutant fails is none."""

import inspect
from collections.abc import Callable

import pytest

from consensus.raft.core import Raft
from tests.consensus.raft import (
    mutants,
    test_availability,
    test_classics,
    test_elections,
    test_membership,
    test_reads,
    test_replication,
    test_snapshots,
)

Case = Callable[[type[Raft]], None]


def figure_7(core: type[Raft]) -> None:
    """All six followers in turn."""
    for follower in test_classics.FOLLOWERS:
        test_classics.test_figure_7_every_follower_is_brought_to_the_leaders_log(follower, core)


def up_to_date(core: type[Raft]) -> None:
    """A log that is shorter, of the same last term."""
    test_elections.test_a_vote_is_given_only_to_a_log_at_least_as_up_to_date((2, 2), False, core)


def verified(core: type[Raft]) -> None:
    """A commit index beyond what the message shows."""
    test_replication.test_a_follower_commits_no_further_than_what_was_verified(4, 2, core)


def matching(core: type[Raft]) -> None:
    """An entry before the new ones of another term."""
    test_replication.test_an_append_that_does_not_match_is_rejected((2, 2), core)


def recent_leader(core: type[Raft]) -> None:
    """A real request for a vote."""
    test_availability.test_nobody_votes_while_a_leader_is_recent(False, core)


KILLS: dict[type[Raft], tuple[Case, ...]] = {
    mutants.AcksBeforeSync: (
        test_elections.test_a_vote_leaves_only_when_it_is_durable,
        test_replication.test_an_acknowledgement_leaves_only_when_the_entries_are_durable,
        test_classics.test_a_write_that_was_lost_in_a_crash_was_never_acknowledged,
    ),
    mutants.VoteIgnoresLog: (
        up_to_date,
        test_availability.test_a_pre_vote_needs_a_log_that_could_win,
    ),
    mutants.VotesTwice: (test_elections.test_a_node_votes_once_in_a_term,),
    mutants.CountsItsVoteAtOnce: (test_elections.test_the_own_vote_counts_only_when_it_is_durable,),
    mutants.ForgetsRecentLeader: (
        recent_leader,
        test_membership.test_a_removed_node_disturbs_nobody,
    ),
    mutants.TruncatesAlways: (
        test_replication.test_entries_that_are_there_already_are_left_alone,
        test_classics.test_a_short_append_that_is_late_deletes_nothing_that_was_acknowledged,
    ),
    mutants.ChecksNoMatch: (matching, figure_7),
    mutants.CommitsOldTerms: (
        test_replication.test_entries_of_earlier_terms_are_committed_only_with_one_of_the_own,
        test_classics.test_figure_8_an_entry_on_a_majority_is_not_committed_if_its_term_is_old,
    ),
    mutants.CommitsLastIndex: (verified,),
    mutants.CountsItselfBeforeDurable: (
        test_replication.test_the_own_log_counts_only_as_far_as_it_is_durable,
    ),
    mutants.AppliesBeforeDurable: (
        test_replication.test_what_is_not_durable_here_is_not_applied_here,
    ),
    mutants.CommitsByHeartbeat: (
        test_replication.test_a_heartbeat_commits_only_what_the_receiver_is_known_to_have,
    ),
    mutants.ReadsWithoutQuorum: (
        test_reads.test_a_read_is_answered_when_a_majority_echoes_its_round,
        test_reads.test_a_leader_that_was_replaced_answers_no_read,
    ),
    mutants.ReadsByEarlierRound: (
        test_reads.test_an_echo_of_a_round_begun_before_the_read_does_not_count,
    ),
    mutants.ReadsWithoutOwnEntry: (
        test_reads.test_no_read_is_answered_before_the_leader_committed_in_its_term,
    ),
    mutants.SnapshotDropsTail: (
        test_snapshots.test_a_snapshot_that_the_log_has_keeps_what_follows,
    ),
    mutants.BelievesAnySnapshot: (test_snapshots.test_a_snapshot_enters_only_whole_and_matching,),
    mutants.ChangesAtOnce: (
        test_membership.test_one_change_is_under_way_at_a_time,
        test_membership.test_no_change_before_an_entry_of_the_own_term_is_committed,
    ),
    mutants.CountsItselfWhenRemoved: (
        test_membership.test_a_leader_that_removes_itself_does_not_count_itself,
    ),
    mutants.NeverStandsWhenRemoved: (
        test_membership.test_a_removed_node_stands_as_long_as_its_removal_needs_its_log,
    ),
    mutants.NeverStepsDown: (
        test_availability.test_a_leader_without_a_quorum_steps_down,
        test_availability.test_a_leader_that_hears_nobody_gives_way,
    ),
    mutants.IgnoresHungDisk: (test_availability.test_a_leader_whose_disk_hangs_steps_down,),
    mutants.AnswersNoOldLeader: (
        test_availability.test_a_node_that_was_cut_off_in_a_higher_term_comes_back,
    ),
}


@pytest.mark.parametrize(
    ("mutant", "case"),
    [(mutant, case) for mutant, cases in KILLS.items() for case in cases],
    ids=lambda one: one.__name__,
)
def test_a_core_that_breaks_a_rule_fails_the_test_of_that_rule(
    mutant: type[Raft], case: Case
) -> None:
    case(Raft)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        case(mutant)


def test_every_mutant_is_tried() -> None:
    made = {one for one in vars(mutants).values() if inspect.isclass(one) and issubclass(one, Raft)}
    assert made - {Raft} == set(KILLS)
