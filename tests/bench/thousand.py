"""`python -m tests.bench.thousand`: a thousand tasks that wait at the same time, in four processes.

A real server and real worker processes of a role whose handlers sleep. How many run at once is
counted by the handlers themselves, how late the event loops are by a task beside them.
"""

import argparse
import asyncio
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import quantiles

import psutil

from tests.bench.servers import ROOT
from tests.e2e.fleets import bound, fleet_and_events
from tests.processes import WorkerProcesses, worker_processes
from tests.servers import NatsServer
from workers.fleet.options import Options
from workers.wiring import Fleet

CALL = 500
PATIENCE = 60.0
"""Seconds beyond what the tasks themselves take."""


@dataclass(frozen=True, slots=True)
class Load:
    """So many processes of so many places, and tasks that wait so long."""

    processes: int = 4
    places: int = 250
    tasks: int = 10_000
    seconds: float = 1.0

    @property
    def at_once(self) -> int:
        """Tasks that can run at the same time."""
        return self.processes * self.places


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What was seen. `moments`: each start (+1) and end (-1) in order of time; `late`: seconds by
    which calls came too late while tasks ran; `resident` and `own`: MiB of each process while they
    did; `used`: seconds of processor time of all."""

    moments: Sequence[tuple[float, int]]
    late: Sequence[float]
    resident: Sequence[float] = ()
    own: Sequence[float] = ()
    used: float = 0.0

    @property
    def took(self) -> float:
        """Seconds from the first start to the last end."""
        return self.moments[-1][0] - self.moments[0][0]

    @property
    def done(self) -> int:
        """Tasks that have ended."""
        return sum(step < 0 for _, step in self.moments)

    @property
    def most(self) -> int:
        """Tasks that ran at the same time, at most."""
        return max(accumulate(step for _, step in self.moments))

    def lasted(self, count: int) -> float:
        """Seconds for which at least `count` ran at the same time."""
        running = accumulate(step for _, step in self.moments)
        spans = (
            (b[0] - a[0], n) for (a, b), n in zip(pairwise(self.moments), running, strict=False)
        )
        return sum(seconds for seconds, n in spans if n >= count)


@dataclass
class Held:
    """What processes held in memory at most, in MiB."""

    resident: dict[int, float] = field(default_factory=dict)
    own: dict[int, float] = field(default_factory=dict)

    def look(self, pids: Sequence[int]) -> None:
        """Once more."""
        for pid in pids:
            found = psutil.Process(pid).memory_full_info()
            self.resident[pid] = max(self.resident.get(pid, 0.0), found.rss / 2**20)
            self.own[pid] = max(self.own.get(pid, 0.0), found.uss / 2**20)


async def measure(server: NatsServer, fleet: str, folder: Path, load: Load) -> Witnessed:
    """Have it done once."""
    role = str(ROOT / "tests" / "bench" / "waiter.py")
    more = {"WITNESS": str(folder), "BENCH_SLOTS": str(load.places)}
    arguments = (server.url, fleet, folder)
    with worker_processes(*arguments, lease=10.0, roles=role, more=more, anew=True) as workers:
        pids = workers.start("waiter", load.processes)
        async with fleet_and_events(*arguments) as (client, _):
            await bound(client, "waiter", count=load.processes)
            before = _used(pids)
            held = await _worked(client, pids, load)
            used = _used(pids) - before
            seen = await asyncio.to_thread(_ended, workers, pids, folder)
    return Witnessed(seen.moments, seen.late, [*held.resident.values()], [*held.own.values()], used)


async def _worked(client: Fleet, pids: Sequence[int], load: Load) -> Held:
    held, options = Held(), Options()
    tasks = []
    for first in range(0, load.tasks, CALL):
        count = min(CALL, load.tasks - first)
        tasks += await client.publish_many([("wait.x", load.seconds)] * count, options)
    ends = asyncio.gather(*(task.result() for task in tasks))
    async with asyncio.timeout(load.tasks * load.seconds / load.at_once + PATIENCE):
        while not ends.done():
            held.look(pids)
            await asyncio.wait({ends}, timeout=0.5)
    await ends
    return held


def _ended(workers: WorkerProcesses, pids: Sequence[int], folder: Path) -> Witnessed:
    """What was written, once the processes have ended in good order."""
    for pid in pids:
        workers.signal(pid, signal.SIGTERM)
    assert [workers.wait(pid) for pid in pids] == [0] * len(pids)
    texts = [(folder / f"{pid}.txt").read_text(encoding="ascii") for pid in pids]
    lines = [line.split() for text in texts for line in text.splitlines()]
    moments = [(float(at), 1 if what == "+" else -1) for what, at, *_ in lines if what != "l"]
    moments.sort()
    ran = range_of(moments)
    late = [
        float(by[0]) for what, at, *by in lines if what == "l" and ran[0] <= float(at) <= ran[1]
    ]
    return Witnessed(moments, late)


def range_of(moments: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """From the first to the last."""
    return moments[0][0], moments[-1][0]


def _used(pids: Sequence[int]) -> float:
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(found.user + found.system for found in times)


def table(load: Load, found: Witnessed) -> str:
    """What it came to, for people."""
    cuts = quantiles(found.late, n=1000)
    best = load.at_once / load.seconds
    head = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    full, rate = found.lasted(load.at_once), found.done / found.took
    rows = [
        ("processes × places, tasks", f"{load.processes} × {load.places}, {found.done:,}"),
        ("running at the same time, at most", f"{found.most:,}"),
        ("all places taken for", f"{full:.1f} of {found.took:.1f} s"),
        ("tasks, each waiting " + f"{load.seconds:g} s", f"{rate:,.0f}/s (at best {best:,.0f}/s)"),
        (
            "memory of a process, resident / its own",
            f"{_span(found.resident)} / {_span(found.own)}",
        ),
        ("lateness of the event loops, p50 / p99", f"{cuts[499]:.4f} / {cuts[989]:.4f} s"),
        ("lateness at most", f"{max(found.late):.3f} s"),
        ("processor time of all workers", f"{found.used / found.took:.0%} of a core"),
        ("load of the machine", f"{os.getloadavg()[0]:.1f}"),
    ]
    lines = [head, "", "| what | measured |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)]
    return "\n".join(lines)


def _span(sizes: Sequence[float]) -> str:
    return f"{min(sizes):.0f} to {max(sizes):.0f} MiB"


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 0 if as many ran at once as there were places."""
    usual = Load()
    parser = argparse.ArgumentParser(prog="tests.bench.thousand", description=__doc__)
    parser.add_argument("--processes", type=int, default=usual.processes)
    parser.add_argument("--places", type=int, default=usual.places, help="of each process")
    parser.add_argument("--tasks", type=int, default=usual.tasks)
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="that each waits")
    load = Load(**vars(parser.parse_args(arguments)))
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        server = NatsServer(Path(folder) / "nats")
        server.start()
        try:
            found = asyncio.run(measure(server, "thousand", Path(folder), load))
        finally:
            server.stop()
    print(table(load, found))
    return 0 if found.most == load.at_once else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
