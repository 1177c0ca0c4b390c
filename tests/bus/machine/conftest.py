"""Prints what the machine found, at the end of a run."""

import pytest

from tests.bus.sabotage.registry import Sabotage

found_key = pytest.StashKey[list[tuple[Sabotage, str, float]]]()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """A line for each sabotage: promise, seconds, what is broken, the first complaint."""
    found = config.stash.get(found_key, [])
    if not found:
        return
    total = sum(seconds for _, _, seconds in found)
    terminalreporter.section(f"{len(found)} sabotages found by the machine in {total:.0f} s")
    for sabotage, complaint, seconds in found:
        line = f"{sabotage.promise:3} | {seconds:4.1f} | {sabotage.name:30} | {complaint[:90]}"
        terminalreporter.write_line(line)
