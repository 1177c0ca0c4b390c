"""What is timed for each library is little and can be read; muster's does what it is timed for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.side_by_side.libraries import OTHERS, OURS, Library
from tests.bench.side_by_side.timing import published, worked
from tests.redis_server import RedisServer

LINES = 40

FEW = 200


@pytest.mark.parametrize("library", [*OTHERS, OURS], ids=lambda library: library.name)
def test_an_adapter_is_one_short_file(library: Library) -> None:
    """Whoever doubts a figure reads what was timed."""
    file = Path(__file__).parent / "adapters" / f"{library.adapter.rpartition('.')[2]}.py"
    assert len(file.read_text(encoding="utf-8").splitlines()) <= LINES


def test_no_adapter_is_left_out() -> None:
    files = (Path(__file__).parent / "adapters").glob("for_*.py")
    assert {file.stem for file in files} == {f"for_{each.name}" for each in (*OTHERS, OURS)}


@pytest.mark.redis
@pytest.mark.slow
def test_tasks_of_muster_are_published_and_worked_off(
    own_redis: Callable[..., RedisServer],
) -> None:
    """Each once; its worker ends by itself when the last one is settled."""
    server = own_redis()
    assert published(OURS, server.url, FEW) > 0
    assert worked(OURS, server.url, FEW) > 0
