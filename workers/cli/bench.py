"""`muster bench`: measures this checkout; the benchmarks live with the tests."""

import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from workers.cli.errors import WrongUsage
from workers.cli.options import Given
from workers.sdk.errors import WorkerError


class What(StrEnum):
    """What can be measured alone."""

    BUS = "bus"
    PROFILE = "profile"


def bench(
    ctx: typer.Context,
    what: Annotated[
        What | None,
        typer.Argument(
            metavar="bus|profile", help="Of the broker that --bus names: rates, or a task's parts."
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds.")] = 5,
    tasks: Annotated[int, typer.Option(min=1000, help="Tasks in each round.")] = 20_000,
) -> int:
    """Measure throughput, latency and memory beside the raw driver, on this machine.

    `bench bus --bus redis`: publish, consume and run on that broker (nats, redis, rabbitmq, kafka).
    `bench profile --bus redis`: where the microseconds of a task go in a worker there.
    It starts servers of its own. Exit code 1 when a figure misses its target twofold.
    """
    given = Given.of(ctx)
    broker = _broker(given.bus, what)
    root = Path(__file__).resolve().parents[2]
    if not (root / "tests" / "bench").is_dir():
        raise WorkerError(
            "there are no benchmarks here",
            details=f"{root} is not a checkout: it has no tests/bench",
            actions=("run `muster bench` in a checkout",),
        )
    module = [f"tests.bench.{what}", "--broker", broker] if what else ["tests.bench"]
    command = [sys.executable, "-m", *module, "--rounds", str(rounds), "--tasks", str(tasks)]
    if given.json:
        command.append("--json")
    return subprocess.run(command, cwd=root, check=False).returncode


def _broker(asked: str | None, what: What | None) -> str:
    """The broker that is measured, which this machine has. Raises `WrongUsage`, `ServerMissing`."""
    from deploy.brokers import BROKERS

    if asked is None:
        return next(iter(BROKERS))
    if what is None or asked not in BROKERS:
        raise WrongUsage(
            "a benchmark starts its own servers",
            details="--bus chooses the broker of `muster bench bus` or `profile`, by its name",
            actions=(f"`muster bench bus --bus {'|'.join(BROKERS)}`",),
        )
    BROKERS[asked].locate()
    return asked
