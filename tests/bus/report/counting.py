"""A pytest plugin that counts tests by promise and implementation.

With `--collect-only` it counts what there is, else what ran; `--count-report` names the file.
"""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.brokers import BROKERS, chosen

MARK = "promise"
IMPLEMENTATIONS = ("memory", *chosen())


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where to write the counts."""
    parser.addoption("--count-report", required=True, type=Path)


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count."""
    config.pluginmanager.register(_Counting(config.getoption("--count-report")))


class _Counting:
    """`counts[promise/implementation]` of what was collected, and of what passed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._of: dict[str, list[str]] = {}
        self._passed: set[str] = set()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        kept = [item for item in items if item.get_closest_marker(MARK)]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept
        self._of = {item.nodeid: list(_counted_as(item)) for item in items}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self._passed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        found = Counter(name for names in self._of.values() for name in names)
        passed = Counter(name for test in self._passed for name in self._of[test])
        tests = {"found": len(self._of), "passed": len(self._passed)}
        counts = {"tests": tests, "found": found, "passed": passed}
        self._path.write_text(json.dumps(counts), encoding="utf-8")


def _counted_as(item: pytest.Item) -> set[str]:
    broker = next((name for name in BROKERS if item.get_closest_marker(name)), "memory")
    numbers = {number for mark in item.iter_markers(MARK) for number in mark.args}
    return {f"{number}/{broker}" for number in numbers}
