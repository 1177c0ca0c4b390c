"""Schedules that fire twice, never, late or at a wrong hour are found by their tests."""

import time

import pytest

from tests.bus.sabotage import catches
from tests.bus.sabotage.catches import Catches
from tests.bus.sabotage.registry import Sabotage, marked
from tests.promises import ROOT
from tests.servers import PostgresServer

MODULE = "tests.knowledge.schedules.sabotage"
ALL = [pytest.param(sabotage, id=sabotage.name) for sabotage in marked(MODULE)]
FILES = (
    "tests/fleet/test_scheduler.py",
    "tests/knowledge/schedules/test_store.py",
    "tests/knowledge/schedules/test_ticks.py",
)

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def run(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Catches:
    """All of them, run once beside this process; nothing is asked of the server that tests share
    but whether there can be one."""
    assert postgres_server.url
    names = sorted({test for sabotage in marked(MODULE) for test in sabotage.caught_by})
    nodes = [f"{file}::{name}" for name in names for file in FILES if _defined(name, file)]
    start = time.perf_counter()
    found = catches.run_these(tmp_path_factory.mktemp("sabotage"), nodes, f"--sabotages={MODULE}")
    print(f"{len(found.ends)} tests in {time.perf_counter() - start:.1f} s")
    return found


def _defined(test: str, file: str) -> bool:
    return f"def {test}(" in (ROOT / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("sabotage", ALL)
def test_what_is_broken_is_caught(sabotage: Sabotage, run: Catches) -> None:
    """Each test named passes on the sound parts and fails, by an assertion of its own, with it."""
    assert sabotage.what.endswith(".")
    assert sabotage.caught_by
    assert run.unsound(sabotage) == []
    assert run.missed(sabotage) == []
