"""What `muster doctor` checks of this machine and of the processes on it."""

import importlib.util
import os
import platform
import resource
import shutil
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from workers.cli.checks import Check, State
from workers.fleet.presence import Alive
from workers.settings import Loaded

_LOW_DISK = 1024**3
_NEEDED = 256
"""Files the embedded server opens for itself, with room for what the command line opens."""

_PER_PROCESS = 4
"""Connections to the broker of a worker process, twice: it has one, and its keeper another."""

_WORKER_MEMORY = 60 * 1024**2
"""Bytes an idle worker process holds (measured: 52 to 59 MiB)."""

_NEAR = 0.8
"""The part of a limit from which on it is near."""


def machine(loaded: Loaded, *, processes: int) -> list[Check]:
    """Python, disk, memory, open files, processes, the clock. `processes`: how many workers are to
    run here."""
    return [
        _python(),
        _disk(loaded),
        _memory(processes),
        _files(processes),
        *_processes(processes),
        _clock(),
    ]


def _python() -> Check:
    said = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    if importlib.util.find_spec("uvloop") is None:
        do = "`pip install uvloop`: it is faster"
        return Check("python", State.WARN, f"{said}, without uvloop", do, why="tasks cost more")
    return Check("python", State.OK, said)


def _disk(loaded: Loaded) -> Check:
    free = shutil.disk_usage(loaded.folder).free
    said = f"{free / 1024**3:.1f} GiB free in {loaded.folder}"
    if not os.access(loaded.folder, os.W_OK):
        do = "give it to this user, or name another with --folder"
        why = "`muster up` keeps its state here"
        return Check("disk", State.WARN, f"{loaded.folder} is read-only", do, why=why)
    if free < _LOW_DISK:
        why = "a full disk takes nothing, also no end of a task"
        return Check("disk", State.WARN, said, "make room", why=why, promise=21)
    return Check("disk", State.OK, said)


def _memory(processes: int) -> Check:
    free, needed = psutil.virtual_memory().available, processes * _WORKER_MEMORY
    said = f"{free / 1024**3:.1f} GiB free, {processes} workers need {needed / 1024**3:.1f}"
    if needed > free:
        do = "fewer workers (roles.NAME.replicas), each with more at once (concurrency)"
        why = "a worker that the system kills costs its tasks an attempt"
        return Check("memory", State.WARN, said, do, why=why, promise=14)
    return Check("memory", State.OK, said)


def _files(processes: int) -> Check:
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _NEEDED + _PER_PROCESS * processes
    if limit == resource.RLIM_INFINITY:
        return Check("open files", State.OK, "unlimited")
    said = f"at most {limit}, {processes} workers and a broker need {needed}"
    if limit < needed:
        allowed = most == resource.RLIM_INFINITY or most >= needed
        do = f"`ulimit -n {needed}`" if allowed else f"raise the hard limit, {most}, as root"
        why = "a broker without files refuses connections"
        return Check("open files", State.WARN, said, do, why=why, promise=16)
    return Check("open files", State.OK, said)


def _processes(wanted: int) -> list[Check]:
    """How many processes and threads this control group may have; nothing where none says."""
    found = _group_limit()
    if found is None:
        return []
    used, most = found
    needed = wanted * 8  # threads of a worker: loop, keeper, probes, uvloop's pool
    said = f"{used} of {most} in this control group, {wanted} workers need {needed}"
    if used + needed > most:
        do = "raise pids.max of the container or the systemd unit (TasksMax=)"
        why = "a worker that cannot start is tried again for ever"
        return [Check("processes", State.WARN, said, do, why=why)]
    return [Check("processes", State.OK, said)]


def _group_limit() -> tuple[int, int] | None:
    """Processes and threads of our control group (cgroup v2), and how many it may have."""
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        group = next(line for line in lines if line.startswith("0::"))[3:]
        folder = Path("/sys/fs/cgroup") / group.lstrip("/")
        most = (folder / "pids.max").read_text(encoding="utf-8").strip()
        used = (folder / "pids.current").read_text(encoding="utf-8").strip()
        return (int(used), int(most)) if most != "max" else None
    return None


def _clock() -> Check:
    """Delays and deadlines are wall times: a clock that is far off shows itself by its year."""
    now = time.gmtime()
    said = time.strftime("%Y-%m-%d %H:%M:%S UTC", now)
    if now.tm_year < 2024:
        why = "deadlines and delays depend on it"
        return Check("clock", State.WARN, said, "set the clock", why=why, promise=8)
    return Check("clock", State.OK, said)


def worker_files(workers: Sequence[Alive]) -> list[Check]:
    """The worker processes of this machine that are near the limit of their open files."""
    near: dict[int, str] = {}
    for pid in {one.pid for one in workers if one.host == socket.gethostname()}:
        found = _open_files(pid)
        if found is not None and found[0] >= _NEAR * found[1]:
            near[pid] = f"process {pid} has {found[0]} of {found[1]} files open"
    if not near:
        return []
    do = "look for what its handlers leave open; raise `ulimit -n` where `muster up` starts"
    why = "a worker without files loses its broker"
    said = "; ".join(near.values())
    return [Check("worker files", State.WARN, said, do, why=why, promise=16)]


def _open_files(pid: int) -> tuple[int, int] | None:
    """Files a process has open, and may have; None where that cannot be seen."""
    if sys.platform != "linux":
        return None
    with suppress(OSError, ValueError, StopIteration):
        limits = Path(f"/proc/{pid}/limits").read_text(encoding="utf-8").splitlines()
        words = next(line for line in limits if line.startswith("Max open files")).split()
        return len(list(Path(f"/proc/{pid}/fd").iterdir())), int(words[3])
    return None
