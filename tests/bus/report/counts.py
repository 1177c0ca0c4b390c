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


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tests, and how many of them `of` each `promise/implementation`."""

    tests: int
    of: Mapping[str, int]


def collected(folder: Path) -> Counts:
    """What there is; nothing is run."""
    return _count(folder, ["--collect-only", "-q"], quiet=True)


def run() -> Counts:
    """What passed: everything that shows a promise is run, its output shown as it comes."""
    folder = ROOT / ".pytest_cache"
    folder.mkdir(exist_ok=True)
    parallel = ["-n", "3", "--dist", "loadfile", "--no-loadscope-reorder"]
    return _count(folder, ["-q", *parallel], quiet=False)


def _count(folder: Path, options: Sequence[str], *, quiet: bool) -> Counts:
    report = folder / "promises.json"
    report.unlink(missing_ok=True)
    paths = sorted({test.path for test in marked_tests().values()})
    command = [sys.executable, "-m", "pytest", "-p", "tests.bus.report.counting"]
    command += ["-p", "no:cacheprovider", f"--count-report={report}", *options, *paths]
    everywhere = {**os.environ, brokers.VARIABLE: "all"}
    done = subprocess.run(
        command, cwd=ROOT, env=everywhere, capture_output=quiet, text=True, check=False
    )
    assert done.returncode == 0, done.stdout or "a test failed; see above"
    return Counts(**json.loads(report.read_text(encoding="utf-8")))
