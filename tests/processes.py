"""Real worker processes for tests: started, killed and counted by their own id."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from tests.cli.forking import forked

NOTHING: Mapping[str, str] = MappingProxyType({})
MUSTER = ("workers.cli.main",)

UNREACHABLE = 3
"""The exit code of a command that cannot reach its bus."""


class Process(Protocol):
    """What is done with a process here."""

    @property
    def pid(self) -> int: ...

    def kill(self) -> None: ...

    def send_signal(self, number: signal.Signals, /) -> None: ...

    def wait(self, seconds: float, /) -> int: ...


class WorkerProcesses:
    """Worker processes of one fleet on one bus, all ended when the test is over. `more` is added
    to their environment. `anew`: each starts Python and imports the product itself, as whoever
    measures its memory wants it; else it is forked from a process that has."""

    def __init__(
        self,
        url: str,
        fleet: str,
        folder: Path,
        *,
        lease: float,
        roles: str = "",
        more: Mapping[str, str] = NOTHING,
        anew: bool = False,
    ) -> None:
        self._folder = folder
        self._anew = anew
        self._forked = ExitStack()
        self.environment = {
            **os.environ,
            "MUSTER_BUS_URL": url,
            "MUSTER_FLEET_NAME": fleet,
            "MUSTER_FLEET_LEASE": str(lease),
            "MUSTER_LOG_LEVEL": "warning",
            **({"MUSTER_ROLES": roles} if roles else {}),
            **more,
        }
        self._processes: dict[int, Process] = {}

    def start(self, role: str, count: int = 1, *, by: Sequence[str] = MUSTER) -> list[int]:
        """Start `count` processes of `role` by this module, with its first arguments; their ids."""
        return [self._start(role, by) for _ in range(count)]

    @property
    def pids(self) -> frozenset[int]:
        """The processes that were started and not ended by the test."""
        return frozenset(self._processes)

    def kill(self, pid: int) -> None:
        """End one at once: it settles nothing and says nothing."""
        process = self._processes.pop(pid)
        process.kill()
        process.wait(10)

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Freeze, thaw or ask one to end."""
        self._processes[pid].send_signal(number)

    def wait(self, pid: int, seconds: float = 30.0) -> int:
        """The exit code of one that ends by itself."""
        return self._processes.pop(pid).wait(seconds)

    def fallen(self) -> list[tuple[int, int]]:
        """The id and exit code of each that has ended by itself since this was asked last."""
        codes = [(pid, _ended(process)) for pid, process in self._processes.copy().items()]
        return [
            (pid, code)
            for pid, code in codes
            if code is not None and self._processes.pop(pid, None) is not None
        ]

    async def keep(self, role: str, alive: list[int]) -> None:
        """For ever, as their supervisor does: one of `alive` that ends because it finds no broker
        when it starts is started again. Any other end is the test's failure."""
        while True:
            for pid, code in self.fallen():
                assert code == UNREACHABLE, f"worker {pid} ended with {code}"
                alive.remove(pid)
                alive += self.start(role)
            await asyncio.sleep(0.1)

    def end(self) -> None:
        """End all that are left."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait(10)
        self._forked.close()

    def _start(self, role: str, by: Sequence[str]) -> int:
        log = (self._folder / f"{role}-{len(self._processes)}.log").open("ab")
        with log, Path(os.devnull).open("rb") as nothing:
            process: Process
            if by == MUSTER and not self._anew:
                given = (["work", role], self._folder, self.environment, nothing, log, log)
                process = self._forked.enter_context(forked(*given))
            else:
                process = subprocess.Popen(
                    [sys.executable, "-m", *by, "work", role],
                    cwd=self._folder,
                    env=self.environment,
                    stdin=nothing,
                    stdout=log,
                    stderr=log,
                )
        self._processes[process.pid] = process
        return process.pid


def _ended(process: Process) -> int | None:
    """Its exit code; None while it runs."""
    try:
        return process.wait(0.0)
    except subprocess.TimeoutExpired:
        return None


@contextmanager
def worker_processes(
    url: str,
    fleet: str,
    folder: Path,
    *,
    lease: float = 2.0,
    roles: str = "",
    more: Mapping[str, str] = NOTHING,
    anew: bool = False,
) -> Iterator[WorkerProcesses]:
    """Worker processes that end with the block."""
    processes = WorkerProcesses(url, fleet, folder, lease=lease, roles=roles, more=more, anew=anew)
    try:
        yield processes
    finally:
        processes.end()
