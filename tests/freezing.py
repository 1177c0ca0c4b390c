"""Freezing a process so that it is frozen when the call returns."""

import os
import signal
import time
from pathlib import Path

import psutil


def freeze(pid: int, *, within: float = 10.0) -> None:
    """Send SIGSTOP and return when every thread stands still: the signal itself is sent on its
    way only, and a thread on another core may go on for some milliseconds."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + within
    while not _stands_still(pid):
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} does not stand still")
        time.sleep(0.001)


def _stands_still(pid: int) -> bool:
    threads = Path(f"/proc/{pid}/task")
    if not threads.is_dir():
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    stats = [(thread / "stat").read_text() for thread in threads.iterdir()]
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)
