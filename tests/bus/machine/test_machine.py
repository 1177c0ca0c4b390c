"""The parts as they are do what the model says; each broken part that concerns it is found.

`MUSTER_LONG=1` runs thousands of other examples than those of every day.
"""

import time

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.bus.machine.concerns import BEYOND, concerns
from tests.bus.machine.conftest import found_key
from tests.bus.machine.machine import Machine
from tests.bus.sabotage.registry import Sabotage, sabotages
from tests.forms import form, is_long

SOUND = settings(
    max_examples=form(50, 5000),
    stateful_step_count=form(30, 50),
    derandomize=not is_long(),
    phases=form((Phase.generate,), (Phase.generate, Phase.shrink)),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
BROKEN = settings(
    SOUND,
    max_examples=600,
    stateful_step_count=25,
    derandomize=True,
    report_multiple_bugs=False,
)
CONCERNS = [pytest.param(s, id=s.name) for s in sabotages() if concerns(s)]


@pytest.mark.long(7200)
@pytest.mark.timeout(form(120, 7200))
@pytest.mark.promise(1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 17, 18, 19, 22)
def test_whatever_happens_nothing_is_lost_doubled_early_or_counted_wrong() -> None:
    """The machine on the sound parts, compared with the model after every step."""
    run_state_machine_as_test(Machine, settings=SOUND)


@pytest.mark.parametrize("sabotage", CONCERNS)
def test_the_machine_finds_a_sabotage(
    sabotage: Sabotage, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """By a complaint of the model, in the first examples."""
    sabotage.install(monkeypatch)
    start = time.perf_counter()
    with pytest.raises(AssertionError) as caught:
        run_state_machine_as_test(Machine, settings=BROKEN)
    seconds = time.perf_counter() - start
    found = request.config.stash.setdefault(found_key, [])
    found.append((sabotage, str(caught.value).partition("\n")[0], seconds))


def test_what_does_not_concern_the_machine_is_there_and_has_a_reason() -> None:
    assert set(BEYOND) <= {sabotage.name for sabotage in sabotages()}
    assert all(BEYOND.values())
