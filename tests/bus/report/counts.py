"""How many tests show each promise on each implementation."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.promises import ROOT, marked_tests


@dataclass(frozen=True, slots=True)
class Counts:
    """Tests by `promise/implementation`, those there are and those that passed."""

    tests: Mapping[str, int]
    found: Mapping[str, int]
    passed: Mapping[str, int]


def collected(folder: Path) -> Counts:
    """What there is; nothing is run."""
    return _count(folder, ["--collect-only", "-q"], quiet=True)


def run() -> Counts:
    """Run everything that shows a promise, with its output as it comes."""
    folder = ROOT / ".pytest_cache"
    folder.mkdir(exist_ok=True)
    return _count(folder, ["-q"], quiet=False)


def _count(folder: Path, options: Sequence[str], *, quiet: bool) -> Counts:
    report = folder / "promises.json"
    report.unlink(missing_ok=True)
    paths = sorted({test.path for test in marked_tests().values()})
    command = [sys.executable, "-m", "pytest", "-p", "tests.bus.report.counting"]
    command += ["-p", "no:cacheprovider", f"--count-report={report}", *options, *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=quiet, text=True, check=False)
    assert done.returncode == 0, done.stdout or "a test failed; see above"
    return Counts(**json.loads(report.read_text(encoding="utf-8")))
