"""What becomes of a proposal: done, superseded, or unknown."""

import pytest

from consensus.ledger.answers import Done
from consensus.node.proposals import Proposals, Superseded, Unknown


async def test_the_answer_is_that_of_the_entry_of_its_index_and_term() -> None:
    proposals = Proposals()
    future = proposals.add(7, 2)
    proposals.applied(6, 2, Done(6))
    assert not future.done()
    proposals.applied(7, 2, Done(7))
    assert future.result() == Done(7)
    assert len(proposals) == 0


async def test_an_entry_of_another_term_at_its_place_means_that_it_was_never_done() -> None:
    proposals = Proposals()
    future = proposals.add(7, 2, patient=True)
    proposals.applied(7, 3, Done(0))
    with pytest.raises(Superseded):
        future.result()


async def test_a_snapshot_that_passes_it_leaves_open_whether_it_was_done() -> None:
    proposals = Proposals()
    passed, later = proposals.add(7, 2, patient=True), proposals.add(9, 2)
    proposals.passed(8)
    with pytest.raises(Unknown):
        passed.result()
    assert not later.done()
    proposals.end()
    with pytest.raises(Unknown):
        later.result()


async def test_clients_hear_at_once_that_leadership_is_lost_and_operators_wait() -> None:
    proposals = Proposals()
    client, operator = proposals.add(7, 2), proposals.add(8, 2, patient=True)
    proposals.lost()
    with pytest.raises(Unknown):
        client.result()
    proposals.applied(8, 2, None)
    assert operator.result() is None


async def test_who_does_not_wait_any_more_disturbs_nobody() -> None:
    proposals = Proposals()
    proposals.add(7, 2).cancel()
    proposals.applied(7, 2, Done(0))
    proposals.add(8, 2).cancel()
    proposals.passed(8)
    assert len(proposals) == 0
