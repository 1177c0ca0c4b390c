"""`muster bench profile --bus BROKER`: where the microseconds of a no-op task go.

One worker process is profiled while it works off a queue, another is timed without. A profiler
makes Python functions dearer than what is written in C, so its *shares* are what counts; they are
laid over the time that was measured without it.
"""

import argparse
import json
import pstats
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import uvloop

from deploy.brokers import BROKERS
from tests.bench import measures
from tests.bench.servers import ROOT, Bench, server

_CLIENTS = ("nats", "aiokafka", "aiormq", "pamqp", "asyncpg")

LEAST = 20
"""Calls of what is done once per batch."""

ROOMS = (
    ("bus/backends/", "backend: wire, intake, settle"),
    ("bus/database/", "bus database"),
    ("bus/parking/", "bus database"),
    ("bus/keyvalue/", "key-value store"),
    ("bus/announcing", "events: gathering and encoding"),
    ("contracts/events", "events: gathering and encoding"),
    ("contracts/", "envelope: decoding and checking"),
    ("bus/", "bus: batching, plans, lanes, stops"),
    ("workers/engine/keeper", "keeper of leases"),
    ("workers/engine/", "engine: runs, steps, slots, limits"),
    ("workers/", "role: payload, handler, result"),
    ("tests/bench/", "role: payload, handler, result"),
    ("site-packages/nats/", "client library: protocol parser"),
    ("site-packages/aiokafka/", "client library: protocol parser"),
    ("site-packages/aiormq/", "client library: protocol parser"),
    ("site-packages/pamqp/", "client library: protocol parser"),
    ("site-packages/asyncpg/", "bus database"),
    ("site-packages/pydantic", "role: payload, handler, result"),
    ("asyncio/", "event loop: tasks, futures, timers"),
)
_REST = "interpreter: builtins and dataclasses, called from all of them"

_CODE = """
import atexit, cProfile, sys
from workers.cli.main import run
sys.argv = ["muster", "work", "noop"]
profile = cProfile.Profile()
atexit.register(lambda: (profile.disable(), profile.dump_stats(sys.orig_argv[-1])))
profile.enable()
run()
"""


@dataclass(frozen=True, slots=True)
class Room:
    """A part of the code, and what it takes of a task: as a part of 1, and in microseconds."""

    name: str
    share: float
    microseconds: float


def main(arguments: Sequence[str]) -> int:
    """Print rooms by their share of a task, or the functions that take most themselves."""
    parser = argparse.ArgumentParser(prog="muster bench profile", description=__doc__)
    parser.add_argument("--broker", choices=BROKERS, default="nats", help="which (default nats)")
    parser.add_argument("--rounds", type=int, default=5, help="runs without the profiler; median")
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks of each run")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--functions", type=int, default=0, metavar="N", help="the N dearest")
    options = parser.parse_args(arguments)
    with server(options.broker) as bench:
        if options.functions:
            stats = _profiled(bench, options.tasks)
            stats.sort_stats("tottime").print_stats(options.functions)
            return 0
        rooms = profile(bench, options.rounds, options.tasks)
    if options.json:
        print(json.dumps([asdict(room) for room in rooms], indent=2))
    else:
        print(f"{sum(room.microseconds for room in rooms):.0f} µs per task, of which")
        for room in rooms:
            print(f"{room.microseconds:6.1f} µs  {room.share:5.1%}  {room.name}")
    return 0


def profile(bench: Bench, rounds: int, tasks: int) -> list[Room]:
    """The parts of a task, the dearest first; together they are what a task took, the median of
    the rounds."""
    took = median(1e6 / measures.working(bench.another_fleet(), tasks) for _ in range(rounds))
    shares = _shares(_profiled(bench.another_fleet(), tasks), tasks)
    return [Room(name, share, share * took) for name, share in shares.most_common()]


def _profiled(bench: Bench, tasks: int) -> pstats.Stats:
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(measures._fill(bench, tasks))
        out = Path(folder) / "profile"
        environment = bench.environment(BENCH_TASKS=str(tasks), PYTHONPATH=str(ROOT))
        subprocess.run(
            [sys.executable, "-c", _CODE, str(out)],
            env=dict(environment),
            cwd=bench.folder,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=300,
        )
        return pstats.Stats(str(out))


def _shares(stats: pstats.Stats, tasks: int) -> Counter[str]:
    """Shares of the time spent in functions called at least once per two tasks: what is done once,
    such as imports, is not a task's."""
    spent: Counter[str] = Counter()
    for (file, _, name), (_, calls, own, *_) in _entries(stats):
        if calls >= tasks / 2 or (calls >= LEAST and _per_batch(file)):
            spent[_room(f"{file}:{name}")] += own  # type: ignore[assignment]
    total = sum(spent.values())
    return Counter({room: own / total for room, own in spent.items()})


def _entries(stats: pstats.Stats) -> Iterable[tuple[tuple[str, int, str], tuple[int, int, float]]]:
    return stats.stats.items()  # type: ignore[attr-defined, no-any-return]


def _per_batch(file: str) -> bool:
    return "bus/" in file or any(f"/{name}/" in file for name in _CLIENTS)


def _room(place: str) -> str:
    place = place.removeprefix(f"{ROOT}/")
    return next((room for part, room in ROOMS if part in place), _REST)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
