"""A publisher in a process of its own, which logs each id once its publish has returned.

`python -m tests.pains.publisher URL FLEET LOG RATE TOPIC…` publishes about RATE tasks a second
until its input is closed. A line of LOG is `ID TOPIC`; the lines of one call are one write.
"""

import asyncio
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contracts.clock import SystemClock
from contracts.errors import MusterError
from tests.pains.journal import Journal
from workers.fleet.client import FleetClient
from workers.fleet.options import Options
from workers.settings import load
from workers.wiring import open_bus

_CALLS = 20
"""Calls of publish in a second."""


class Publisher:
    """The process, seen from the test."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self._journal = Journal(log)
        self.accepted: dict[str, str] = {}
        self.counts: Counter[str] = Counter()

    def look(self) -> int:
        """Read what is new: how many ids were accepted so far. `accepted` has their topics,
        `counts` how many of each."""
        new = self._journal.read()
        self.accepted.update((id_, topic) for id_, topic in new)
        self.counts.update(topic for _, topic in new)
        return len(self.accepted)

    def stop(self) -> int:
        """Let it finish the call it is in; how many ids were accepted in all."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        code = self._process.wait(60)
        assert code == 0, f"the publisher ended with {code}"
        return self.look()


@contextmanager
def publishing(
    url: str, fleet: str, folder: Path, *topics: str, rate: float, name: str = "accepted"
) -> Iterator[Publisher]:
    """A publisher that has begun; it is gone when the block is left."""
    log = folder / f"{name}.txt"
    command = [sys.executable, "-m", __name__, url, fleet, str(log), str(rate), *topics]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:
        try:
            yield Publisher(process, log)
        finally:
            if process.poll() is None:
                process.kill()


async def _publish(url: str, fleet: str, log: Path, rate: float, topics: list[str]) -> None:
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.buffer.read))
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    bus = await open_bus(load(log.parent, flags={"bus.url": url, "fleet.name": fleet}))
    rng = random.Random(5)
    async with FleetClient(bus, SystemClock()) as client:
        call = round(rate / _CALLS)
        while not ended.done():
            began = time.monotonic()
            tasks = [(rng.choice(topics), {"seconds": rng.uniform(0.02, 0.2)}) for _ in range(call)]
            try:
                accepted = await client.publish_many(tasks, Options(reply=False))
            except MusterError as error:  # not accepted: nobody owes anything
                print(error, file=sys.stderr)
                continue
            os.write(file, "".join(f"{task.id} {task.topic}\n" for task in accepted).encode())
            left = began + 1 / _CALLS - time.monotonic()
            await asyncio.wait({ended}, timeout=max(0.0, left))
    os.close(file)


if __name__ == "__main__":
    url_, fleet_, log_, rate_, *topics_ = sys.argv[1:]
    asyncio.run(_publish(url_, fleet_, Path(log_), float(rate_), topics_))
