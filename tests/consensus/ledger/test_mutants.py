"""Each rule that is broken on purpose is noticed by the scenario that states it."""

from pathlib import Path

import pytest

from consensus.ledger.ledger import Ledger
from tests.consensus.ledger.mutants import BREAKS, Make
from tests.consensus.ledger.stage import NotAsWritten, Stage
from tests.consensus.ledger.test_machine import walk
from tests.consensus.ledger.watch import Broken

SCENARIOS = Path(__file__).parent / "scenarios"

PROMISES = {
    "award without fencing": "fencing",
    "any session holds the award": "fencing",
    "slots not counted": "slots",
    "no dedupe": "done once",
    "dedupe by seq up to last": "done once",
}
"""Mutants that break a promise as such, and its name: the watch notices from answers alone."""


@pytest.mark.parametrize("name", BREAKS)
def test_a_scenario_notices(name: str) -> None:
    make, scenario = BREAKS[name]
    text = (SCENARIOS / f"{scenario}.txt").read_text(encoding="utf-8")
    Stage().play(text)
    with pytest.raises(NotAsWritten):
        Stage(make).play(text)


@pytest.mark.parametrize("name", PROMISES)
def test_the_watch_notices(name: str) -> None:
    with pytest.raises(Broken, match=PROMISES[name]):
        _walks(BREAKS[name][0])


def test_the_watch_has_nothing_against_the_ledger() -> None:
    _walks(Ledger)


def _walks(make: Make) -> None:
    for seed in range(20):
        walk(make, seed, steps=200, compare=False)
