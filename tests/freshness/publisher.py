"""A publisher in a process of its own, which asks for what it has published as soon as it may.

`python -m tests.freshness.publisher FOLDER LOG RATE` publishes about RATE tasks a second to the
fleet that the environment names, until its input is closed. A line of LOG is `asked COUNT TIME`
before a call, `accepted ID TIME` once it has returned, and `known ID WORD` for the last id of
each, asked for right then by what `task show` does: `yes`, `no` (no such task), `behind`.
"""

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from contracts.clock import SystemClock
from knowledge.history.history import History
from tests.pains.journal import Journal
from workers.cli.errors import NotFound, NotRecordedYet
from workers.cli.past import known
from workers.fleet.client import FleetClient
from workers.fleet.options import Options
from workers.history.opening import open_history
from workers.settings import load
from workers.wiring import open_bus

_CALLS = 4
"""Calls of publish in a second."""

_FAIL = 0.1
"""Share of the tasks that are to fail."""

_SHORT, _LONG = 0.6, 2.5
"""Seconds that most runs take at most, and that some take, which outlive the order to drain."""

_LONG_ONES = 0.15


class Publisher:
    """The process, seen from the test."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self._journal = Journal(log)
        self.asked: list[tuple[float, int]] = []
        self.tasks: dict[str, float] = {}
        self.known: dict[str, str] = {}

    def look(self) -> "Publisher":
        """Read what is new."""
        for what, about, told in self._journal.read():
            if what == "asked":
                self.asked.append((float(told), int(about)))
            elif what == "accepted":
                self.tasks[about] = float(told)
            else:
                self.known[about] = told
        return self

    def stop(self) -> None:
        """Let it finish what it is in."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        code = self._process.wait(60)
        assert code == 0, f"the publisher ended with {code}"
        self.look()


@contextmanager
def publishing(folder: Path, environment: Mapping[str, str], rate: float) -> Iterator[Publisher]:
    """A publisher that has begun; it is gone when the block is left."""
    log = folder / "accepted.txt"
    command = [sys.executable, "-m", __name__, str(folder), str(log), str(rate)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=dict(environment)) as process:
        try:
            yield Publisher(process, log)
        finally:
            if process.poll() is None:
                process.kill()


class _Log:
    """The log as the publisher writes it: one write per call."""

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, *lines: str) -> None:
        os.write(self._file, "".join(f"{line}\n" for line in lines).encode())


async def _publish(folder: Path, log: _Log, rate: float) -> None:
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.buffer.read))
    loaded, clock, rng = load(folder), SystemClock(), random.Random(5)
    history = await open_history(loaded, clock)
    asking: set[asyncio.Task[None]] = set()
    async with FleetClient(await open_bus(loaded), clock) as client:
        while not ended.done():
            began = time.monotonic()
            tasks = [("sample.x", _work(rng)) for _ in range(max(1, round(rate / _CALLS)))]
            log.write(f"asked {len(tasks)} {time.time()}")
            accepted = await client.publish_many(tasks, Options(reply=False))
            now = time.time()
            log.write(*(f"accepted {task.id} {now}" for task in accepted))
            asking.add(asyncio.create_task(_ask(history, accepted[-1].id, log)))
            left = began + 1 / _CALLS - time.monotonic()
            await asyncio.wait({ended}, timeout=max(0.0, left))
        await asyncio.gather(*asking)
    await history.close()


def _work(rng: random.Random) -> dict[str, object]:
    seconds = _LONG if rng.random() < _LONG_ONES else rng.uniform(0.02, _SHORT)
    return {"seconds": seconds, "well": rng.random() > _FAIL}


async def _ask(history: History, task: str, log: _Log) -> None:
    try:
        await known(history, task)
    except NotFound:
        log.write(f"known {task} no")
    except NotRecordedYet:
        log.write(f"known {task} behind")
    else:
        log.write(f"known {task} yes")


if __name__ == "__main__":
    asyncio.run(_publish(Path(sys.argv[1]), _Log(Path(sys.argv[2])), float(sys.argv[3])))
