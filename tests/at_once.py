"""A failure is named when it happens: a run of half an hour may be looked at, or end, before its
summary."""

import pytest


class AtOnce:
    """Names what fails in a line of its own, in whichever process it ran."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The test, the part of it, and how what it ended with begins."""
        told = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and told is not None:
            crash = getattr(report.longrepr, "reprcrash", None)
            why = crash.message.splitlines()[:1] if crash is not None and crash.message else []
            told.write_line("\n" + ": ".join([f"{report.when} failed", report.nodeid, *why]))


def register(config: pytest.Config) -> None:
    """Where the output is written; workers of a parallel run write none."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(AtOnce(config))
