"""`muster bench`: what it refuses before anything is measured."""

import pytest

from tests.cli.running import Muster


@pytest.mark.parametrize(
    "words",
    [
        ["bench", "--bus", "redis"],
        ["bench", "bus", "--bus", "x"],
        ["bench", "profile", "--bus", "x"],
    ],
    ids=" ".join,
)
def test_only_brokers_of_its_own_are_measured(muster: Muster, words: list[str]) -> None:
    ended = muster(*words)
    assert ended.code == 2
    assert "muster bench bus --bus nats|redis|rabbitmq|kafka" in ended.lines[2]
