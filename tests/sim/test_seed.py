"""A seed is a history: it says what was drawn, and happens again in the same way."""

import json
from dataclasses import replace

import pytest

from tests.sim.options import FAULTS, draw
from tests.sim.run import Result, Totals, play
from tests.sim.steps import LeavesNoWatchCopy
from tests.sim.world import Build, World


def history(seed: int) -> list[object]:
    """All that can be compared of a run."""
    world = World(draw(seed, 3), Build())
    world.live()
    nodes = [(n.disk.seq, n.disk.image.boot(), n.ledger.hash()) for n in world.nodes.values()]
    log = [*world.invariants.log.values()]
    return [
        world.clockwork.events,
        world.counts,
        world.links.seen,
        nodes,
        log,
        world.shop.published,
    ]


@pytest.mark.parametrize("seed", range(3))
def test_a_seed_happens_again_in_the_same_way(seed: int) -> None:
    assert history(seed) == history(seed)


def test_every_option_that_was_drawn_is_told() -> None:
    told = str(draw(7, 3))
    assert all(f"{name}=" in told for name in draw(7, 3).__slots__)
    assert draw(7, 3) == draw(7, 3) != draw(8, 3)


def test_each_kind_of_fault_can_be_drawn() -> None:
    drawn = {kind for seed in range(50) for kind in draw(seed, 3).faults}
    assert drawn == {*FAULTS}


def test_a_violation_is_told_with_what_repeats_it() -> None:
    totals = Totals()
    totals.add(play(0, Build(steps=LeavesNoWatchCopy)))
    told = "\n".join(totals.lines())
    assert "no-lost-task" in told
    assert "options: seed=0 nodes=3" in told
    assert "make sim SEEDS=1 FROM=0" in told


def test_what_came_of_a_seed_is_kept_as_it_was() -> None:
    result = play(0)
    kept = json.loads(json.dumps(result.kept()))
    assert Result.of(kept) == replace(result, options="")


def test_a_violation_is_kept_with_its_options() -> None:
    result = play(0, Build(steps=LeavesNoWatchCopy))
    assert Result.of(result.kept()) == result


def test_a_run_in_which_nothing_happens_is_called_too_easy() -> None:
    totals = Totals()
    totals.add(play(0))
    totals.events[0] = 10
    assert any("events" in text for text in totals.too_easy())
