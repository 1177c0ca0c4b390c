"""Prints the table of catches at the end of a run."""

import pytest

from tests.bus.sabotage.catches import table
from tests.bus.sabotage.registry import Sabotage

caught_key = pytest.StashKey[list[Sabotage]]()


def pytest_configure(config: pytest.Config) -> None:
    """An empty table."""
    config.stash[caught_key] = []


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """What was caught, by what."""
    caught = config.stash.get(caught_key, [])
    if caught:
        terminalreporter.section(f"{len(caught)} sabotages caught")
        terminalreporter.write_line(table(caught))
