"""Runs the tests of the promises against every sabotage, and says which of them caught it."""

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.bus.sabotage.plugin import SOUND
from tests.bus.sabotage.registry import Sabotage, sabotages
from tests.promises import ROOT, marked_tests

TOO_LONG = 30.0
"""Seconds of real time after which a test with a sabotage counts as crashed."""
ALL_TOO_LONG = 570.0
"""Seconds after which a run of all of them is given up, and what it did last is said."""


@dataclass(frozen=True, slots=True)
class End:
    """How one test ended: `passed`, `caught` or `crashed`."""

    test: str
    sabotage: str
    end: str
    why: str


@dataclass(frozen=True, slots=True)
class Catches:
    """What came out of a run of all sabotages."""

    ends: tuple[End, ...]

    def unsound(self, sabotage: Sabotage) -> list[End]:
        """The tests of this sabotage that do not pass on the sound parts either."""
        mine = [e for e in self.ends if e.sabotage == SOUND and e.test in sabotage.caught_by]
        missing = set(sabotage.caught_by) - {end.test for end in mine}
        wrong = [end for end in mine if end.end != "passed"]
        return wrong + [End(test, SOUND, "not run", "") for test in sorted(missing)]

    def missed(self, sabotage: Sabotage) -> list[End]:
        """The tests that did not fail by an assertion of their own, or did not run."""
        mine = [end for end in self.ends if end.sabotage == sabotage.name]
        caught = {end.test for end in mine if end.end == "caught"}
        missing = set(sabotage.caught_by) - {end.test for end in mine}
        missed = [end for end in mine if end.test not in caught or end.end == "crashed"]
        return missed + [End(test, sabotage.name, "not run", "") for test in sorted(missing)]


def run(folder: Path) -> Catches:
    """Run the tests named by all sabotages of the bus, in two processes beside this one: they wait
    more than they work."""
    found = marked_tests()
    names = {test for sabotage in sabotages() for test in sabotage.caught_by}
    nodes = [f"{found[name].path}::{name}" for name in sorted(names & set(found))]
    folders = [folder / "one", folder / "other"]
    for each in folders:
        each.mkdir()
    with ThreadPoolExecutor(len(folders)) as pool:
        parts = list(pool.map(run_these, folders, (nodes[::2], nodes[1::2])))
    return Catches(tuple(end for part in parts for end in part.ends))


def run_these(
    folder: Path, nodes: Sequence[str], *more: str, too_long: float = TOO_LONG
) -> Catches:
    """Run these tests, with more options for `plugin`."""
    report = folder / "catches.jsonl"
    report.touch()
    command = [sys.executable, "-m", "pytest", "-p", "tests.bus.sabotage.plugin", "-v", "--tb=no"]
    command += ["-p", "no:cacheprovider", "-p", "no:unraisableexception"]
    command += ["-p", "no:threadexception", "-p", "no:timeout", "-r", "N"]
    command += [f"--sabotage-report={report}", f"--too-long={too_long}", *more, *nodes]
    code, said = _ended(command)
    assert code in {0, 1}, said[-3000:]
    return Catches(tuple(End(**json.loads(line)) for line in report.read_text().splitlines()))


def _ended(command: Sequence[str]) -> tuple[int | None, str]:
    """The exit code of a command, none if it was given up, and what it printed."""
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            said, _ = process.communicate(timeout=ALL_TOO_LONG)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
            return None, said
    return process.returncode, said


def table(of: Iterable[Sabotage], widths: Sequence[int] = (3, 78)) -> str:
    """`promise | what is broken | caught by`, a line for each test that catches."""
    promise, what = widths
    lines = [f"{'':{promise}} | {'what is broken':{what}} | caught by"]
    for sabotage in of:
        first, *more = sabotage.caught_by
        lines.append(f"{sabotage.promise or 'KV':>{promise}} | {sabotage.what:{what}} | {first}")
        lines += [f"{'':{promise}} | {'':{what}} | {test}" for test in more]
    return "\n".join(lines)
