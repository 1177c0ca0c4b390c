"""Every scenario comes out as it is written."""

from pathlib import Path

import pytest

from tests.consensus.ledger.stage import NotAsWritten, Stage

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))


def test_there_are_scenarios() -> None:
    assert len(SCENARIOS) >= 20


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    assert Stage().play(path.read_text(encoding="utf-8")) > 0


def test_a_scenario_that_is_not_so_is_found() -> None:
    with pytest.raises(NotAsWritten, match="line 1"):
        Stage().play("ann: session -> session=2")
    with pytest.raises(NotAsWritten, match="there is"):
        Stage().play("ann: session -> nothing")
