"""The Redis backend through the whole worker, beside the raw client in the same rounds.

    python -m tests.bench.redis_worker rates [--rounds 5] [--tasks 20000]
    python -m tests.bench.redis_worker latency
    python -m tests.bench.redis_worker profile

`rates`: `Bus` and one worker process, of what `redis-py` does. `latency`: publish to the handler's
first line, and publish to a blocked `XREADGROUP`. `profile`: functions of a worker by their time.
"""

import argparse
import asyncio
import json
import pstats
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import uvloop
from redis.asyncio import Redis

from tests.bench import measures, raw_redis
from tests.bench.profile import _CODE
from tests.bench.servers import MUSTER, ROOT, Bench
from tests.redis_server import RedisServer


@contextmanager
def bench() -> Iterator[Bench]:
    """A Redis that syncs every write, in a folder that goes with it."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        server = RedisServer(Path(folder) / "redis")
        server.start()
        try:
            yield Bench(server.url, Path(folder), "bench")
        finally:
            server.stop()


def worker(count: int) -> float:
    """No-op tasks per second of one process, from its first start until all are settled."""
    with bench() as one:
        uvloop.run(measures._fill(one, count))
        done = subprocess.run(
            [*MUSTER, "work", "noop"],
            env=one.environment(BENCH_TASKS=str(count)),
            cwd=one.folder,
            check=False,
            stdout=subprocess.PIPE,
            timeout=120,
        )
        return count / (time.time() - float(json.loads(done.stdout.splitlines()[0])["first"]))


def rates(rounds: int, count: int) -> None:
    """Ratios of the same round, and their medians."""
    found: dict[str, list[float]] = {"publish": [], "consume": [], "worker": []}
    for _ in range(rounds):
        with bench() as one:
            publish, consume = uvloop.run(raw_redis.raw(one.url, count))
        with bench() as one:
            through = uvloop.run(measures.through_bus(one, count))
        tasks = worker(count)
        ratios = (through.publish / publish, through.consume / consume, tasks / consume)
        for name, ratio in zip(found, ratios, strict=True):
            found[name].append(ratio)
        print(
            f"raw {publish:,.0f} {consume:,.0f}, Bus {through.publish:,.0f} {through.consume:,.0f},"
            f" worker {tasks:,.0f} /s; {', '.join(f'{ratio:.2f}' for ratio in ratios)} of raw"
        )
    for (name, ratios_), least in zip(found.items(), (0.8, 0.6, 0.3), strict=True):
        print(
            f"{name}: {median(ratios_):.2f} ({min(ratios_):.2f} to {max(ratios_):.2f}), ≥ {least}"
        )


def latency(count: int = 500) -> None:
    """p50 and p99 of raw and ours, in milliseconds."""
    with bench() as one:
        raw = uvloop.run(_raw_latency(one.url, count))
    with bench() as one:
        process = subprocess.Popen(
            [*MUSTER, "work", "clock"],
            env=dict(one.environment()),
            cwd=one.folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            ours = uvloop.run(measures._tick(one, process.stdout, count))
        finally:
            process.terminate()
            process.wait(30)
    for name, values in (("raw", raw), ("ours", ours)):
        cuts = quantiles(values, n=100)
        print(f"{name}: p50 {median(values) * 1000:.2f} ms, p99 {cuts[98] * 1000:.2f} ms")


async def _raw_latency(url: str, count: int) -> list[float]:
    """Seconds from the call of `XADD` to its entry in a blocked `XREADGROUP`."""
    async with Redis.from_url(url) as sending, Redis.from_url(url) as reading:
        stream = uuid.uuid4().hex
        await sending.xgroup_create(stream, "g", id="0", mkstream=True)
        found: list[float] = []
        for _ in range(count):
            read: asyncio.Task[Any] = asyncio.create_task(_read(reading, stream))
            await asyncio.sleep(measures.IDLE)
            began = time.perf_counter()
            await sending.xadd(stream, {b"b": b"x" * 500})
            found.append(await read - began)
        return found


async def _read(client: "Redis", stream: str) -> float:
    await client.xreadgroup("g", "me", {stream: ">"}, 1, block=5000)
    return time.perf_counter()


def profile(count: int, lines: int) -> None:
    """The functions of one worker, by the time they take themselves."""
    with bench() as one:
        uvloop.run(measures._fill(one, count))
        out = one.folder / "profile"
        subprocess.run(
            [sys.executable, "-c", _CODE, str(out)],
            env=dict(one.environment(BENCH_TASKS=str(count), PYTHONPATH=str(ROOT))),
            cwd=one.folder,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=120,
        )
        pstats.Stats(str(out)).sort_stats("tottime").print_stats(lines)


def main(words: Sequence[str]) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.redis_worker")
    parser.add_argument("what", choices=("rates", "latency", "profile"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--lines", type=int, default=60)
    options = parser.parse_args(words)
    if options.what == "rates":
        rates(options.rounds, options.tasks)
    elif options.what == "latency":
        latency()
    else:
        profile(options.tasks, options.lines)


if __name__ == "__main__":
    main(sys.argv[1:])
