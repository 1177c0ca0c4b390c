"""`muster bench`: measures this checkout; the benchmarks live with the tests."""

import subprocess
import sys
from pathlib import Path

from workers.sdk.errors import WorkerError


def bench(rounds: int = 5, tasks: int = 20_000, json: bool = False) -> int:
    """Measure throughput, latency and memory beside the raw driver; returns the exit code."""
    root = Path(__file__).resolve().parents[2]
    if not (root / "tests" / "bench").is_dir():
        raise WorkerError(
            "there are no benchmarks here",
            details=f"{root} is not a checkout: it has no tests/bench",
            actions=("run `muster bench` in a checkout",),
        )
    command = [sys.executable, "-m", "tests.bench", "--rounds", str(rounds), "--tasks", str(tasks)]
    return subprocess.run([*command, *(["--json"] if json else [])], cwd=root, check=False).returncode
