"""`python -m tests.bench.sizing [--tasks N]`: what a fleet needs of its machine.

A real broker, a real PostgreSQL and a real `muster up`. First it is idle: memory, open files and
connections of each process. Then tasks wait, paused; then they run while history is away, so that
what is told of them lies with the broker; then history is back and writes it all down. After each
step the broker's folder is measured, in bytes on disk.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from contracts.clock import SystemClock
from tests.bench.servers import MUSTER
from tests.servers import NatsServer, PostgresServer, open_folder
from workers.settings import load
from workers.wiring import Fleet, open_bus

WORKERS = 4
PATIENCE = 600.0
AT_ONCE = 1000

ROLE = '''\
"""A role that takes what it is given."""

from workers import Context, role


@role("sized", listens="sized.#", concurrency=8)
async def sized(text: str, ctx: Context) -> str:
    """As long a result as the payload."""
    return text
'''


@dataclass(frozen=True, slots=True)
class Setup:
    """The servers, and the folder of the fleet with the environment of its processes."""

    nats: NatsServer
    postgres: PostgresServer
    folder: Path
    environment: dict[str, str]

    def muster(self, *arguments: str) -> Any:
        """What the command answers."""
        done = subprocess.run(
            [*MUSTER, *arguments, "--json"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout) if done.stdout.strip() else None

    def stored(self) -> int:
        """Bytes on disk in the broker's folder."""
        files = [file for file in self.nats.folder.rglob("*") if file.is_file()]
        return sum(file.stat().st_blocks * 512 for file in files)


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="tests.bench.sizing", description=__doc__)
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks of 500 bytes")
    options = parser.parse_args(arguments)
    with _setup() as setup:
        setup.muster("up", f"sized={WORKERS}", "--detach")
        try:
            print("| what | measured |\n|---|--:|")
            for line in (*_idle(setup), *_flow(setup, options.tasks)):
                print(line)
        finally:
            setup.muster("down")
    return 0


@contextmanager
def _setup() -> Iterator[Setup]:
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as name, open_folder() as state:
        folder = Path(name)
        nats, postgres = NatsServer(folder / "nats"), PostgresServer(state / "state")
        nats.start()
        postgres.start()
        (folder / "agents").mkdir()
        (folder / "agents" / "sized.py").write_text(ROLE, encoding="utf-8")
        environment = {
            **os.environ,
            "MUSTER_BUS_URL": nats.url,
            "MUSTER_HISTORY_URL": postgres.url,
            "MUSTER_FLEET_NAME": "sizing",
        }
        try:
            yield Setup(nats, postgres, folder, environment)
        finally:
            postgres.stop()
            nats.stop()


def _idle(setup: Setup) -> Iterator[str]:
    """Each kind of process after ten seconds in which there was nothing to do."""
    time.sleep(10.0)
    standing = json.loads((setup.folder / ".muster" / "up.json").read_text(encoding="utf-8"))
    kinds = {worker["role"]: worker["pid"] for worker in standing["workers"]}
    kinds |= {"muster up": standing["pid"], "nats-server": setup.nats.pid}
    for kind, pid in kinds.items():
        process = psutil.Process(pid)
        memory, files = process.memory_full_info(), process.num_fds()
        tcp = sum(c.status == psutil.CONN_ESTABLISHED for c in process.net_connections("tcp"))
        sizes = f"{memory.rss / 2**20:.0f} / {memory.uss / 2**20:.0f} MiB"
        told = f"{sizes}, {files} files, {tcp} TCP connections, {process.num_threads()} threads"
        yield f"| {kind}: resident / its own | {told} |"
    yield f"| connections to PostgreSQL, idle | {_connections(setup)} |"


def _connections(setup: Setup) -> int:
    asked = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'muster'"
    return int(setup.postgres.run(asked))


def _flow(setup: Setup, count: int) -> Iterator[str]:
    setup.muster("pause", "sized")
    empty, before = setup.stored(), _database(setup)
    asyncio.run(_publish(setup, count))
    yield f"| broker: a task of 500 bytes that waits | {(setup.stored() - empty) / count:.0f} B |"
    setup.postgres.stop()
    setup.muster("resume", "sized")
    _until(lambda: _waiting(setup) == 0)
    time.sleep(10.0)  # the sweep of what is done
    yield f"| broker: what is told of a task, unread | {(setup.stored() - empty) / count:.0f} B |"
    setup.postgres.start()
    most = 0

    def recorded() -> bool:
        nonlocal most
        most = max(most, _connections(setup))
        return _ended(setup) >= count

    _until(recorded)
    grown = _database(setup) - before
    yield f"| connections to PostgreSQL while it catches up | {most} |"
    yield f"| PostgreSQL: a task with payload and result of 500 bytes | {grown / count:.0f} B |"
    time.sleep(10.0)
    yield f"| broker: left when all is done and read | {setup.stored() / 1e6:.1f} MB |"


def _database(setup: Setup) -> int:
    return int(setup.postgres.run("SELECT pg_database_size(current_database())"))


def _ended(setup: Setup) -> int:
    return int(setup.postgres.run("SELECT count(*) FROM muster_sizing.results"))


def _waiting(setup: Setup) -> int:
    (row,) = [row for row in setup.muster("ps")["roles"] if row["role"] == "sized"]
    return int(sum(row["waiting"].values()) + (row["leased"] or 0))


async def _publish(setup: Setup, count: int) -> None:
    flags = {"bus.url": setup.nats.url, "fleet.name": "sizing"}
    bus = await open_bus(load(setup.folder, flags=flags))
    async with Fleet(bus, SystemClock()) as fleet:
        for _ in range(0, count, AT_ONCE):
            await fleet.publish_many([("sized.x", "x" * 498)] * AT_ONCE)


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError("it takes longer than it should")
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
