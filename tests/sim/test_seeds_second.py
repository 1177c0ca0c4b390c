"""Seeds 100 to 199: whatever goes wrong, every invariant holds, and the cluster recovers."""

import pytest

from tests.sim import seeds
from tests.sim.run import Totals


@pytest.fixture(scope="module")
def totals() -> Totals:
    return Totals()


@pytest.mark.parametrize("block", seeds.BLOCKS)
def test_every_invariant_holds_after_every_event(totals: Totals, block: int) -> None:
    seeds.run_block(totals, 100, block)


def test_enough_happened_to_mean_something(totals: Totals) -> None:
    """Events, acknowledged commands, and every kind of fault."""
    seeds.judge(totals)
