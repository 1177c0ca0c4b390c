"""`python -m tests.bench.hundred`: many worker processes on this machine, started and idle.

A real server and a real `muster up` with that many processes of one role. Printed are the time
until all are ready, what each holds in memory, and what they use while nothing is to be done:
processor, and operations of the broker.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from tests.bench.servers import MUSTER, ROOT
from tests.servers import NatsServer
from tests.watching import operations


@dataclass(frozen=True, slots=True)
class Idle:
    """What was used in some seconds: parts of one processor, and operations a second."""

    workers: float
    supervisor: float
    broker: float
    operations: float


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 0 if every process became ready."""
    parser = argparse.ArgumentParser(prog="tests.bench.hundred", description=__doc__)
    parser.add_argument("--workers", type=int, default=100, help="processes (default 100)")
    parser.add_argument("--seconds", type=float, default=30.0, help="seconds of idling")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        server = NatsServer(Path(folder) / "nats")
        server.start()
        try:
            return _measure(server, Path(folder), options.workers, options.seconds)
        finally:
            server.stop()


def _measure(server: NatsServer, folder: Path, count: int, seconds: float) -> int:
    environment = {
        **os.environ,
        "MUSTER_BUS_URL": server.url,
        "MUSTER_FLEET_NAME": "hundred",
        "MUSTER_ROLES": str(ROOT / "tests" / "bench" / "roles.py"),
        "MUSTER_LOG_LEVEL": "error",
    }
    began = time.monotonic()
    up = subprocess.Popen(
        [*MUSTER, "up", f"clock={count}", "--json"],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert up.stdout is not None
        ready = json.loads(up.stdout.readline())
        started = time.monotonic() - began
        workers = [p for p in psutil.Process(up.pid).children() if p.is_running()]
        memory = [process.memory_full_info() for process in workers]
        time.sleep(5.0)  # what starting leaves to be done
        idle = _idle(server, up.pid, workers, seconds)
        print(_told(count, started, memory, idle))
        return 0 if ready["workers"] == {"clock": count} else 1
    finally:
        began = time.monotonic()
        up.send_signal(signal.SIGINT)
        up.wait(120)
        print(f"| ended in order | {time.monotonic() - began:.1f} s |")


def _idle(
    server: NatsServer, supervisor: int, workers: Sequence[psutil.Process], seconds: float
) -> Idle:
    others = [psutil.Process(supervisor), psutil.Process(server.pid)]
    began, asked = time.monotonic(), operations(server)
    before = [_used(process) for process in (*others, *workers)]
    time.sleep(seconds)
    after = [_used(process) for process in (*others, *workers)]
    took = time.monotonic() - began
    used = [(late - early) / took for early, late in zip(before, after, strict=True)]
    return Idle(sum(used[2:]), used[0], used[1], (operations(server) - asked) / took)


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _told(count: int, started: float, memory: Sequence[Any], idle: Idle) -> str:
    rss, own = [m.rss / 2**20 for m in memory], [m.uss / 2**20 for m in memory]
    head = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    rows = [
        (f"{count} workers ready after", f"{started:.1f} s ({started / count:.2f} s each)"),
        ("memory of one, resident", f"{median(rss):.0f} MiB"),
        ("memory of one, its own", f"{median(own):.0f} MiB (all: {sum(own) / 1024:.1f} GiB)"),
        ("idle: all workers", f"{idle.workers:.1%} of a core ({idle.workers / count:.2%} each)"),
        ("idle: the supervisor", f"{idle.supervisor:.1%} of a core"),
        ("idle: the broker", f"{idle.broker:.1%} of a core"),
        ("idle: broker operations", f"{idle.operations / count:.2f}/s for each worker"),
    ]
    lines = [head, "", "| what | measured |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
