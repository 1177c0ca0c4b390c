"""Where the microseconds of a no-op task go.

    python -m tests.bench.profile [--broker redis] [--functions 60]

One worker process is profiled while it works off a queue, another is timed without. A profiler
makes Python functions dearer than what is written in C, so its *shares* are what counts; they are
laid over the time that was measured without it.
"""

import argparse
import pstats
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import uvloop

from deploy.brokers import BROKERS
from tests.bench import measures
from tests.bench.servers import ROOT, server

COUNT = 20_000

_CLIENTS = ("nats", "aiokafka", "aiormq", "asyncpg")

LEAST = 20
"""Calls of what is done once per batch."""

ROOMS = (
    ("bus/backends/", "backend: wire, intake, settle"),
    ("bus/database/", "bus database"),
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


def main(words: Sequence[str]) -> None:
    """Print rooms by their share of a task, or functions by the time they take themselves."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile")
    parser.add_argument("--broker", choices=BROKERS, default="nats")
    parser.add_argument("--functions", type=int, default=0, metavar="N", help="the N dearest")
    options = parser.parse_args(words)
    if options.functions:
        _profiled(options.broker).sort_stats("tottime").print_stats(options.functions)
        return
    with server(options.broker) as bench:
        seconds = 1.0 / measures.working(bench, COUNT)
    shares = _shares(_profiled(options.broker))
    print(f"{seconds * 1e6:.0f} µs per task, of which")
    for room, share in shares.most_common():
        print(f"{share * seconds * 1e6:6.1f} µs  {share:5.1%}  {room}")


def _profiled(broker: str) -> pstats.Stats:
    with tempfile.TemporaryDirectory() as folder, server(broker) as bench:
        uvloop.run(measures._fill(bench, COUNT))
        out = Path(folder) / "profile"
        environment = bench.environment(BENCH_TASKS=str(COUNT), PYTHONPATH=str(ROOT))
        command = [sys.executable, "-c", _CODE, str(out)]
        subprocess.run(
            command,
            env=dict(environment),
            cwd=bench.folder,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=300,
        )
        return pstats.Stats(str(out))


def _shares(stats: pstats.Stats) -> Counter[str]:
    """Shares of the time spent in functions called at least once per two tasks: what is done once,
    such as imports, is not a task's."""
    spent: Counter[str] = Counter()
    for (file, _, name), (_, calls, own, *_) in _entries(stats):
        if calls >= COUNT / 2 or (calls >= LEAST and _per_batch(file)):
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
    main(sys.argv[1:])
