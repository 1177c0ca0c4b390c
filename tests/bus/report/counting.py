"""A pytest plugin that counts tests by promise and implementation.

With `--collect-only` it counts what there is, else what passed; `--count-report` names the file.
With `--count-beside` other tests run as well.
"""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.brokers import BROKERS

MARK = "promise"
IMPLEMENTATIONS = ("memory", *BROKERS)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where to write the counts, and whether nothing else is run."""
    parser.addoption("--count-report", required=True, type=Path)
    parser.addoption("--count-beside", action="store_true")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count."""
    config.pluginmanager.register(_Counting(config.getoption("--count-report")))


class _Counting:
    """`counts[promise/implementation]` of what was collected, or of what passed, in whichever
    process it ran."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._of: dict[str, list[str]] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        kept = [item for item in items if item.get_closest_marker(MARK)]
        for item in kept:
            item.user_properties.append((MARK, sorted(_counted_as(item))))
        if config.option.collectonly:
            self._of = {item.nodeid: sorted(_counted_as(item)) for item in kept}
        if not config.option.count_beside:
            config.hook.pytest_deselected(items=[item for item in items if item not in kept])
            items[:] = kept

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            for name, value in report.user_properties:
                if name == MARK:
                    assert isinstance(value, list)
                    self._of[report.nodeid] = value

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workerinput"):
            return
        counts = Counter(name for names in self._of.values() for name in names)
        told = {"tests": len(self._of), "of": counts}
        self._path.write_text(json.dumps(told), encoding="utf-8")


def _counted_as(item: pytest.Item) -> set[str]:
    broker = next((name for name in BROKERS if item.get_closest_marker(name)), "memory")
    numbers = {number for mark in item.iter_markers(MARK) for number in mark.args}
    return {f"{number}/{broker}" for number in numbers}
