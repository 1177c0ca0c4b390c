"""Short and long forms of one test, and what a run says of itself.

`MUSTER_LONG=1`, which `make chaos` sets, chooses the long forms. This module alone reads it.
"""

import os
from typing import TypeVar

import pytest

T = TypeVar("T")

VARIABLE = "MUSTER_LONG"
HAPPENED = "happened"
"""The property of a test's report that `happened` lines are kept under."""


def is_long() -> bool:
    """Whether this run is one of the long forms."""
    return os.environ.get(VARIABLE, "") not in {"", "0"}


def form(short: T, long: T) -> T:
    """The one of the two that this run uses."""
    return long if is_long() else short


def header() -> str:
    """The line at the top of a run."""
    if is_long():
        return f"forms: long ({VARIABLE} is set)"
    return "forms: short (`make chaos` runs the long ones)"


def give_time(items: list[pytest.Item]) -> None:
    """Let each test marked `long(seconds)` take so long where the long forms are run."""
    for item in items:
        mark = item.get_closest_marker("long")
        if mark is not None and is_long():
            item.add_marker(pytest.mark.timeout(mark.args[0]))


def told(reporter: pytest.TerminalReporter) -> list[str]:
    """What the tests of this run said about what happened in them, in the order they ended."""
    reports = [r for found in reporter.stats.values() for r in found]
    return [
        f"{report.nodeid.partition('::')[2]}: {text}"
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, text in report.user_properties
        if name == HAPPENED
    ]
