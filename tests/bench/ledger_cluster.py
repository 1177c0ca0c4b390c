"""`python -m tests.bench.ledger_cluster [seconds] [clients…]`: what a ledger of three nodes takes.

Three processes on this machine, over loopback, every frame authenticated, SQLite with full flushes.
A client is a connection with a session of its own that says one command after the other (`open` of
an auction nobody bids for); two processes hold them. Beside it: how often per second this disk
makes 4 KiB durable, for nothing in a ledger is quicker than that.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import uvloop

from consensus.client.client import LedgerClient
from tests.consensus.node.cluster import HASH, OF_WORKER, opened
from tests.consensus.node.processes import Fleet

SECONDS = 5.0
CLIENTS = (1, 8, 64, 256)
HOLDERS = 2
"""Processes that hold clients: one alone would be what is measured."""


def flushes(folder: Path, seconds: float = 1.0) -> float:
    """How often per second 4 KiB are written in place and flushed."""
    file = os.open(folder / "flushes", os.O_RDWR | os.O_CREAT)
    count, page, end = 0, os.urandom(4096), time.perf_counter() + seconds
    while time.perf_counter() < end:
        os.pwrite(file, page, 0)
        os.fdatasync(file)
        count += 1
    os.close(file)
    return count / seconds


async def say(client: LedgerClient, name: str, until: float, took: list[float]) -> None:
    """One command after the other."""
    count = 0
    while (began := time.perf_counter()) < until:
        await client.open_auction(
            f"{name}-{count}",
            "nobody",
            window_ms=3_600_000,
            lease_ms=3_600_000,
            max_awards=1,
            spec_hash=HASH,
        )
        took.append(time.perf_counter() - began)
        count += 1


def hold(pipe: Pipe, addresses: list[str], count: int, seconds: float) -> None:
    """A process with so many clients; tells how long each command took."""

    async def run() -> None:
        took: list[float] = []
        async with AsyncExitStack() as stack:
            made = [
                LedgerClient(addresses, worker=f"{os.getpid()}-{n}", keys=OF_WORKER, timeout=60)
                for n in range(count)
            ]
            for client in made:
                await stack.enter_async_context(client)
            await asyncio.gather(*(client.keepalive() for client in made))
            pipe.send("ready")
            await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
            until = time.perf_counter() + seconds
            await asyncio.gather(
                *(say(client, f"{os.getpid()}-{n}", until, took) for n, client in enumerate(made))
            )
        pipe.send(took)

    uvloop.run(run())


def measure(addresses: list[str], count: int, seconds: float) -> list[float]:
    """How long each command took, in order."""
    context = multiprocessing.get_context("spawn")
    shares = [count // HOLDERS + (n < count % HOLDERS) for n in range(HOLDERS)]
    pipes, processes = [], []
    for share in filter(None, shares):
        here, there = multiprocessing.Pipe()
        process = context.Process(target=hold, args=(there, addresses, share, seconds))
        process.start()
        pipes.append(here)
        processes.append(process)
    for pipe in pipes:
        pipe.recv()
    for pipe in pipes:
        pipe.send("go")
    found = [took for pipe in pipes for took in pipe.recv()]
    for process in processes:
        process.join(10)
    return sorted(found)


def told(count: int, seconds: float, took: Sequence[float]) -> str:
    """One line."""
    middle, late = took[len(took) // 2] * 1000, took[int(len(took) * 0.99)] * 1000
    rate = len(took) / seconds
    return f"{count:4} clients {rate:9,.0f} commands/s   p50 {middle:7.2f} ms   p99 {late:7.2f} ms"


async def main() -> None:
    """Print all of it."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    counts = [int(one) for one in sys.argv[2:]] or CLIENTS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{flushes(folder):,.0f} flushes/s of 4 KiB on this disk")
        fleet = Fleet(folder)
        for address in fleet.addresses:
            await fleet.start(address)
        try:
            async with LedgerClient(fleet.addresses, worker="first", keys=OF_WORKER) as client:
                await opened(client, "first", timeout=30)
            loop = asyncio.get_running_loop()
            for count in counts:
                took = await loop.run_in_executor(None, measure, fleet.addresses, count, seconds)
                print(told(count, seconds, took), flush=True)
        finally:
            for address in list(fleet.processes):
                await fleet.kill(address, signal.SIGTERM)


if __name__ == "__main__":
    asyncio.run(main())
