"""`make soak`: tasks at full rate through real worker processes, for as long as is asked.

Prints a line every few seconds and a verdict; exit code 1 when memory grew, something was left or
an idle fleet was not quiet.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from bus.backend import Lag
from contracts.clock import SystemClock
from deploy import ports
from tests.e2e.fleets import bound
from tests.processes import worker_processes
from tests.servers import NatsServer
from tests.soak.judging import SERVER, Sample, Verdict, memory, rest
from tests.watching import live_heap, messages, operations, resident
from workers.fleet.options import Options
from workers.fleet.presence import present
from workers.settings import load
from workers.wiring import Fleet, open_bus

FLEET = "soak"
CALL = 500
MOST_WAITING = 20_000
"""Tasks that may wait: publishing faster than they are done would only fill the disk."""

PAYLOAD = {"pad": "x" * 200}

PATIENCE = 60.0
"""Seconds after the last publish in which everything is to come to rest."""

SETTLED = 2.0
"""Seconds from then on until what followed the last tasks is over, presence and sweep."""


class Soak:
    """A server, its workers and what is seen of them; `profile` is where the server's is."""

    def __init__(
        self, server: NatsServer, profile: str, fleet: Fleet, pids: list[int], every: float
    ) -> None:
        self._server = server
        self._profile = profile
        self._fleet = fleet
        self._pids = {f"worker {n}": pid for n, pid in enumerate(pids, 1)}
        self._every = every
        self._published = 0
        self._done = 0
        self.samples: list[Sample] = []

    async def run(self, seconds: float) -> list[Verdict]:
        """Publish for `seconds` while looking on; then see whether it comes to rest."""
        print(_row("s", "published", "done", *self._pids, SERVER, "its process"))
        began = time.monotonic()
        looking = [asyncio.create_task(self._count()), asyncio.create_task(self._look_on(began))]
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(self._publish(began + seconds))
        took = time.monotonic() - began
        waiting = await self._at_rest()
        left = await self._swept()
        for task in looking:
            task.cancel()
        print(f"{self._published / took:.0f} tasks/s over {took:.0f} s")
        idle = min(40.0, max(10.0, seconds / 4))
        each = await self._operations(idle)
        lost = self._published - await self._succeeded()
        verdicts = rest(lost=lost, waiting=waiting, left=left, idle=each, seconds=idle)
        return [*memory([s for s in self.samples if s.at <= took]), *verdicts]

    async def _publish(self, until: float) -> None:
        options = Options(reply=False)
        while time.monotonic() < until:
            if self._published - self._done > MOST_WAITING:
                await asyncio.sleep(0.02)
                continue
            await self._fleet.publish_many([("soak.x", PAYLOAD)] * CALL, options)
            self._published += CALL

    async def _count(self) -> None:
        while True:
            self._done = await self._succeeded()
            await asyncio.sleep(0.25)

    async def _look_on(self, began: float) -> None:
        while True:
            at = time.monotonic() - began
            found = {name: resident(pid) for name, pid in self._pids.items()}
            found[SERVER] = await asyncio.to_thread(live_heap, self._profile)
            self.samples.append(Sample(at, found, self._published, self._done))
            rows = (f"{size:.1f} MiB" for size in [*found.values(), resident(self._server.pid)])
            print(_row(round(at), self._published, self._done, *rows), flush=True)
            await asyncio.sleep(self._every)

    async def _succeeded(self) -> int:
        return sum(worker.succeeded for worker in await present(self._fleet.bus.store))

    async def _at_rest(self) -> int:
        """What waits, is delayed or leased in the end: nothing, or what is left after a minute."""
        until = time.monotonic() + PATIENCE
        while True:
            lanes = (await self._fleet.bus.lag("soaker")).values()
            lags = [lag for lag in lanes if isinstance(lag, Lag)]
            left = sum((g.waiting or 0) + (g.delayed or 0) + (g.leased or 0) for g in lags)
            if not left or time.monotonic() > until:
                return left
            await asyncio.sleep(0.2)

    async def _swept(self) -> dict[str, int]:
        """What lies in the streams in the end, and every task counted by its worker."""
        until = time.monotonic() + PATIENCE
        while True:
            found = await asyncio.to_thread(messages, self._server, FLEET)
            left = {name: n for name, n in found.items() if not name.startswith("KV_")}
            if not any(left.values()) or time.monotonic() > until:
                return left
            await asyncio.sleep(0.5)

    async def _operations(self, seconds: float) -> float:
        """Operations per second and worker, by the server's own count."""
        await asyncio.sleep(SETTLED)
        before = operations(self._server)
        await asyncio.sleep(seconds)
        return (operations(self._server) - before) / seconds / len(self._pids)


def _row(*cells: object) -> str:
    return "  ".join(f"{cell:>10}" for cell in cells)


async def _soak(
    server: NatsServer, profile: str, folder: Path, arguments: argparse.Namespace
) -> list[Verdict]:
    given = (server.url, FLEET, folder)
    roles = str(Path(__file__).with_name("roles.py").parent)
    with worker_processes(*given, lease=10.0, roles=roles, anew=True) as workers:
        pids = workers.start("soaker", arguments.workers)
        bus = await open_bus(load(folder, flags={"bus.url": server.url, "fleet.name": FLEET}))
        async with Fleet(bus, SystemClock()) as fleet:
            await bound(fleet, "soaker", count=arguments.workers)
            return await Soak(server, profile, fleet, pids, arguments.every).run(arguments.seconds)


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--workers", type=int, default=2, help="worker processes")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two lines")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="muster-soak-") as folder:
        port = ports.free()
        server = NatsServer(Path(folder) / "nats", more=f"prof_port: {port}\n")
        server.start()
        try:
            profile = f"http://{ports.LOOPBACK}:{port}"
            verdicts = uvloop.run(_soak(server, profile, Path(folder), arguments))
        finally:
            server.stop()
    for verdict in verdicts:
        print(f"{'ok' if verdict.good else 'BAD':4} {verdict.what}: {verdict.found}")
    return 0 if all(verdict.good for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
