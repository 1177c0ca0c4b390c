"""`muster bench`: measures this checkout; the benchmarks live with the tests."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from workers.cli.options import Given
from workers.sdk.errors import WorkerError


def bench(
    ctx: typer.Context,
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds.")] = 5,
    tasks: Annotated[int, typer.Option(min=1000, help="Tasks in each round.")] = 20_000,
) -> int:
    """Measure throughput, latency and memory beside the raw driver, on this machine.

    Exit code 1 when a figure misses its target twofold.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / "tests" / "bench").is_dir():
        raise WorkerError(
            "there are no benchmarks here",
            details=f"{root} is not a checkout: it has no tests/bench",
            actions=("run `muster bench` in a checkout",),
        )
    command = [sys.executable, "-m", "tests.bench", "--rounds", str(rounds), "--tasks", str(tasks)]
    if Given.of(ctx).json:
        command.append("--json")
    return subprocess.run(command, cwd=root, check=False).returncode
