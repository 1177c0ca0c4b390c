"""Files that processes append to, one write per line, and what they tell."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SLEEPER = '''\
"""A role that sleeps as long as it is told, and says on disk when it starts and ends."""

import asyncio
import os
import time
from pathlib import Path

from pydantic import BaseModel

from workers import Context, role

JOURNAL = Path(__file__).with_name("runs.txt")


class Nap(BaseModel):
    seconds: float


def write(what: str, ctx: Context) -> None:
    file = os.open(JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    line = f"{what} {ctx.id} {ctx.attempt} {ctx.fence} {os.getpid()} {time.time()}\\n"
    os.write(file, line.encode())
    os.close(file)


@role("sleeper", listens="nap.#", concurrency=4, attempts=30, timeout=3600, backoff=0.05)
async def sleeper(nap: Nap, ctx: Context) -> int:
    write("start", ctx)
    await asyncio.sleep(nap.seconds)
    write("end", ctx)
    return ctx.fence
'''


def sleepers(folder: Path, *, concurrency: int = 4, attempts: int = 30) -> Path:
    """A folder of roles with the one above."""
    roles = folder / "roles"
    roles.mkdir()
    text = SLEEPER.replace("concurrency=4", f"concurrency={concurrency}")
    text = text.replace("attempts=30", f"attempts={attempts}")
    (roles / "sleeper.py").write_text(text, encoding="utf-8")
    return roles


class Journal:
    """A file that grows: each `read` gives the words of the lines that are new."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._at = 0

    def read(self) -> list[list[str]]:
        """The new whole lines."""
        if not self._file.exists():
            return []
        with self._file.open("rb") as file:
            file.seek(self._at)
            whole, line_end, _ = file.read().rpartition(b"\n")
        self._at += len(whole) + len(line_end)
        return [line.split() for line in whole.decode().splitlines()]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one task in one process."""

    task: str
    attempt: int
    fence: int
    pid: int


class Runs:
    """What sleepers in a folder of roles have written so far. `began`: wall times."""

    def __init__(self, roles: Path) -> None:
        self._journal = Journal(roles / "runs.txt")
        self._open: dict[Run, None] = {}
        self.started: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.all: list[Run] = []
        self.began: dict[Run, float] = {}

    def look(self) -> "Runs":
        """Read what is new."""
        for what, task, attempt, fence, pid, at in self._journal.read():
            run = Run(task, int(attempt), int(fence), int(pid))
            if what == "start":
                self._open[run] = None
                self.began[run] = float(at)
                self.started[task] += 1
                self.all.append(run)
            else:
                self._open.pop(run, None)
                self.ended[task] += 1
        return self

    async def until(self, holds: Callable[[], bool]) -> None:
        """Read on until something holds."""
        while True:
            self.look()
            if holds():
                return
            await asyncio.sleep(0.05)

    @property
    def open(self) -> list[Run]:
        """The runs that have begun and not ended, also of processes that are gone."""
        return list(self._open)

    def unended(self, pid: int) -> list[Run]:
        """The runs in this process that have begun and not ended."""
        return [run for run in self._open if run.pid == pid]

    def after(self, run: Run) -> float | None:
        """When the next run of its task began, a wall time; None before one did."""
        later = [at for other, at in self.began.items() if other.task == run.task]
        return min((at for at in later if at > self.began[run]), default=None)

    def has_ended(self, run: Run) -> bool:
        """Whether this very run came to its end."""
        return run not in self._open

    @property
    def again(self) -> int:
        """Runs beyond the first of each task."""
        return self.started.total() - len(self.started)
