"""A hundred seeds as tests of one file: ten at a time, then what all of them come to."""

import pytest

from tests.sim.run import Totals, play

BLOCK = 10
FILE = 100
BLOCKS = range(FILE // BLOCK)


def run_block(totals: Totals, first: int, block: int) -> None:
    """Ten seeds: no invariant is broken."""
    for seed in range(first + block * BLOCK, first + (block + 1) * BLOCK):
        result = play(seed)
        totals.add(result)
        assert not result.broken, "\n".join(totals.lines())


def judge(totals: Totals) -> None:
    """All hundred: enough happened for that to mean something."""
    print("\n".join(totals.lines()))
    if totals.seeds < FILE:
        pytest.skip(f"only {totals.seeds} seeds were run")
    assert [*totals.too_easy()] == []
