"""How many tests show each promise on each implementation: on all there are, chosen or not."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests import brokers
from tests.promises import ROOT, marked_tests

NEW = (
    "tests/bus/report/test_document.py::"
    "test_the_document_is_that_of_the_tests_and_sabotages_there_are"
)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tests, and how many of them `of` each `promise/implementation`."""

    tests: int
    of: Mapping[str, int]


def collected(folder: Path) -> Counts:
    """What there is; nothing is run."""
    return _count(folder, ["--collect-only", "-q"], quiet=True)


def run(*, whole: bool = False) -> Counts:
    """What passed: everything that shows a promise is run, its output shown as it comes. `whole`:
    every other test as well, but the one that looks whether the document is new."""
    folder = ROOT / ".pytest_cache"
    folder.mkdir(exist_ok=True)
    options = ["-n", "3", "--dist", "loadfile", "--no-loadscope-reorder"]
    if whole:
        options += ["--count-beside", f"--deselect={NEW}"]
    return _count(folder, options, quiet=False, whole=whole)


def _count(folder: Path, options: Sequence[str], *, quiet: bool, whole: bool = False) -> Counts:
    report = folder / "promises.json"
    report.unlink(missing_ok=True)
    paths = [] if whole else sorted({test.path for test in marked_tests().values()})
    command = [sys.executable, "-m", "pytest", "-p", "tests.bus.report.counting"]
    command += ["-p", "no:cacheprovider", f"--count-report={report}", *options, *paths]
    everywhere = {**os.environ, brokers.VARIABLE: "all"}
    done = subprocess.run(
        command, cwd=ROOT, env=everywhere, capture_output=quiet, text=True, check=False
    )
    assert done.returncode == 0, done.stdout or "a test failed; see above"
    return Counts(**json.loads(report.read_text(encoding="utf-8")))
