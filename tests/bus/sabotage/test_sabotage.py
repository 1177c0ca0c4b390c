"""Every promise that is tested is broken on purpose, and its tests must fail."""

import time

import pytest

from tests.bus.sabotage import catches
from tests.bus.sabotage.catches import Catches
from tests.bus.sabotage.conftest import caught_key
from tests.bus.sabotage.registry import Sabotage, sabotages
from tests.promises import PROMISES, marked_tests

pytestmark = pytest.mark.timeout(600)

ALL = [pytest.param(sabotage, id=sabotage.name) for sabotage in sabotages()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Catches:
    """All sabotages, run once."""
    start = time.perf_counter()
    found = catches.run(tmp_path_factory.mktemp("sabotage"))
    print(f"{len(found.ends)} tests in {time.perf_counter() - start:.1f} s")
    return found


@pytest.mark.parametrize("sabotage", ALL)
def test_a_sabotage_is_caught_by_the_tests_of_its_promise(
    sabotage: Sabotage, run: Catches, request: pytest.FixtureRequest
) -> None:
    """Each test named passes on the sound parts and fails, by an assertion of its own, with it."""
    assert run.unsound(sabotage) == []
    assert run.missed(sabotage) == []
    request.config.stash.setdefault(caught_key, []).append(sabotage)


@pytest.mark.parametrize("sabotage", ALL)
def test_a_sabotage_says_what_is_broken_and_names_tests_of_its_promise(sabotage: Sabotage) -> None:
    assert sabotage.what.endswith(".")
    assert sabotage.caught_by
    shown = marked_tests()
    for test in sabotage.caught_by:
        assert sabotage.promise in shown[test].promises, test


def test_every_promise_that_is_tested_is_sabotaged() -> None:
    tested = {number for test in marked_tests().values() for number in test.promises}
    assert tested <= set(PROMISES)
    assert tested - {sabotage.promise for sabotage in sabotages()} == set()


def test_sabotages_have_names_of_their_own() -> None:
    names = [sabotage.name for sabotage in sabotages()]
    assert len(set(names)) == len(names)
