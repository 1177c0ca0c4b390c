"""The role of these tests: it says on disk when a run begins and ends, and in which process."""

from pathlib import Path

FILE = "runs.txt"

SOURCE = '''\
"""A role that sleeps as long as it is told, and says on disk when it starts and ends."""

import asyncio
import os
import time
from pathlib import Path

import psutil
from pydantic import BaseModel

from workers import Context, Reject, role

FILE = Path(__file__).with_name("runs.txt")


class Work(BaseModel):
    seconds: float
    well: bool


def write(what: str, ctx: Context) -> None:
    above = os.getppid()
    pids = f"{os.getpid()},{above},{psutil.Process(above).ppid()}"
    file = os.open(FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{what} {ctx.id} {ctx.fence} {pids} {time.time()}\\n".encode())
    os.close(file)


@role("sampled", listens="sample.#", concurrency=3, attempts=30, timeout=60, backoff=0.05)
async def sampled(work: Work, ctx: Context) -> float | Reject:
    """Sleep."""
    write("start", ctx)
    await asyncio.sleep(work.seconds)
    write("end" if work.well else "fail", ctx)
    return work.seconds if work.well else Reject("asked for")
'''


def write(folder: Path) -> Path:
    """Put the role into a folder; where it writes."""
    (folder / "agents").mkdir(exist_ok=True)
    (folder / "agents" / "sampled.py").write_text(SOURCE, encoding="utf-8")
    return folder / "agents" / FILE
