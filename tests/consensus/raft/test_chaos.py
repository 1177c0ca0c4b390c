"""Random runs: whatever goes wrong the invariants hold, and afterwards the cluster recovers."""

import pytest

from tests.consensus.raft.chaos import Chaos
from tests.forms import form

BLOCK = 25


@pytest.mark.parametrize("block", range(form(6, 400)))
def test_the_invariants_hold_after_every_event_and_the_cluster_recovers(block: int) -> None:
    """Election safety, log matching, leader completeness, state-machine safety (figure 3), what is
    committed is durable on a majority, nothing goes back, reads are not stale, one change of
    members at a time."""
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        chaos = Chaos(seed)
        try:
            chaos.run(3000)
            chaos.heal()
        except Exception as error:
            raise AssertionError(f"seed {seed}: {chaos.options}") from error
