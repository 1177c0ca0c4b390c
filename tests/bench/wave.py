"""`python -m tests.bench.wave`: a fleet that follows a wave of load, from one process to eight.

A real server, a real `muster up` and real worker processes; a role whose tasks take half a second
and of which a process runs four at a time. Tasks are published at a steady low rate, then at a
high one, then at the low one again. Once a second is written down what waits, what is wanted
and how many processes work. `--out` writes the picture and the table.
"""

import argparse
import asyncio
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

from bus.backend import Lag
from contracts.clock import SystemClock
from tests.bench.picture import Line, picture
from tests.bench.servers import MUSTER, Bench, server
from workers.fleet.presence import present
from workers.fleet.staffing import Fleet as Staffed
from workers.settings import load
from workers.wiring import Fleet, open_bus

ROLE = '''\
"""A role that takes half a second, and waits in it."""

import asyncio

from workers import Context, role


@role("waiter", listens="wave.#", concurrency=4)
async def wait(_: int, ctx: Context) -> None:
    """Wait."""
    await asyncio.sleep(0.5)
'''

LOW, HIGH = 3.0, 55.0
"""Tasks a second: a process does eight."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A second of the wave: tasks published in it, and what was seen at its end."""

    at: float
    published: int
    waiting: int
    wanted: int
    ready: int


def main(arguments: Sequence[str]) -> int:
    """Run the wave; 0 if it went up to the most and down to the least again."""
    parser = argparse.ArgumentParser(prog="tests.bench.wave", description=__doc__)
    parser.add_argument("--high", type=int, default=60, help="seconds of the high rate")
    parser.add_argument("--after", type=int, default=80, help="seconds of the low rate after it")
    parser.add_argument("--out", type=Path, help="a folder for autoscaling.svg and autoscaling.md")
    options = parser.parse_args(arguments)
    with server() as bench:
        moments = _measure(bench, options.high, options.after)
    text = _told(moments, options.high, options.after)
    print(text)
    if options.out:
        (options.out / "autoscaling.md").write_text(text, encoding="utf-8")
        (options.out / "autoscaling.svg").write_text(_drawn(moments), encoding="utf-8")
    wanted = [moment.wanted for moment in moments]
    return 0 if (wanted[0], max(wanted), wanted[-1]) == (1, 8, 1) else 1


def _measure(bench: Bench, high: int, after: int) -> list[Moment]:
    (bench.folder / "waiter.py").write_text(ROLE, encoding="utf-8")
    environment = dict(bench.environment(MUSTER_ROLES=str(bench.folder / "waiter.py")))
    toml = "[roles.waiter]\nreplicas = { min = 1, max = 8 }\n"
    (bench.folder / "muster.toml").write_text(toml, encoding="utf-8")

    def muster(*arguments: str) -> None:
        command = [*MUSTER, *arguments]
        subprocess.run(command, env=environment, cwd=bench.folder, check=True, capture_output=True)

    muster("up", "waiter", "--detach")
    try:
        return asyncio.run(_wave(bench, high, after))
    finally:
        muster("down")


async def _wave(bench: Bench, high: int, after: int) -> list[Moment]:
    bus = await open_bus(
        load(bench.folder, flags={"bus.url": bench.url, "fleet.name": bench.fleet})
    )
    found: list[Moment] = []
    async with Fleet(bus, SystemClock()) as fleet:
        began, owed = time.monotonic(), 0.0
        for second in range(10 + high + after):
            owed += HIGH if 10 <= second < 10 + high else LOW
            count = int(owed)
            owed -= count
            await fleet.publish_many([("wave.x", n) for n in range(count)])
            found.append(await _look(fleet, time.monotonic() - began, count))
            await asyncio.sleep(max(0.0, began + second + 1 - time.monotonic()))
    return found


async def _look(fleet: Fleet, at: float, published: int) -> Moment:
    lags = await fleet.bus.lag("waiter")
    staffed = await Staffed.read(fleet.bus.store)
    (one,) = staffed.staff(await present(fleet.bus.store))
    waiting = sum(lag.waiting or 0 for lag in lags.values() if isinstance(lag, Lag))
    return Moment(round(at, 1), published, waiting, one.wanted or 0, one.ready)


def _told(moments: Sequence[Moment], high: int, after: int) -> str:
    up = next((m.at for m in moments if m.wanted == 8), nan)
    down = next((m.at for m in moments[10 + high :] if m.wanted == 1), nan)
    most = max(moment.waiting for moment in moments)
    head = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    command = f"python -m tests.bench.wave --high {high} --after {after} --out docs"
    lines = f"""\
# A fleet that follows its work

![Processes wanted and working, tasks published and waiting](autoscaling.svg)

Measured by `{command}` ({head}):
a role with `replicas = {{ min = 1, max = 8 }}`, whose tasks take half a second and run four at a
time in a process. {LOW:g} tasks a second, {HIGH:g} from second 10 to {10 + high}. Eight processes
were wanted at second {up:g}, one again at second {down:g}; at most {most} tasks waited.

| second | published | waiting | wanted | working |
|--:|--:|--:|--:|--:|""".splitlines()
    shown = [m for n, m in enumerate(moments) if n % 5 == 0 or m.wanted != moments[n - 1].wanted]
    lines += [f"| {m.at} | {m.published} | {m.waiting} | {m.wanted} | {m.ready} |" for m in shown]
    return "\n".join(lines) + "\n"


def _drawn(moments: Sequence[Moment]) -> str:
    at = [moment.at for moment in moments]
    return picture(
        at,
        left=[
            Line("wanted", "#1f77b4", [m.wanted for m in moments]),
            Line("working", "#2ca02c", [m.ready for m in moments]),
        ],
        right=[
            Line("published in the second", "#bbbbbb", [m.published for m in moments]),
            Line("waiting", "#d62728", [m.waiting for m in moments]),
        ],
        units=("processes", "tasks"),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
