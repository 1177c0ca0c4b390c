"""What `muster doctor` checks."""

import importlib.util
import os
import platform
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bus.errors import BusError
from bus.fullness import MAX_BYTES
from bus.members import deserted, last_seen
from contracts.errors import MusterError
from deploy import nats as embedded
from workers.cli import times
from workers.cli.errors import Deserted
from workers.cli.masking import masked
from workers.fleet.presence import Alive, present
from workers.sdk.errors import RoleError
from workers.settings import Loaded
from workers.wiring import all_roles, bus_url, open_bus

_LOW_DISK = 1024**3
_FEW_FILES = 1024
_SKEW = 1.0


class State(StrEnum):
    """How a check ended; only `fail` changes the exit code."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One line. `error` says why it failed."""

    what: str
    state: State
    said: str
    do: str = ""
    error: MusterError | None = None


def machine(loaded: Loaded) -> list[Check]:
    """Python, disk, open files, the clock."""
    return [_python(), _disk(loaded), _files(), _clock()]


def _python() -> Check:
    said = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    if sys.platform != "win32" and importlib.util.find_spec("uvloop") is None:
        return Check(
            "python", State.WARN, f"{said}, without uvloop", "install uvloop: it is faster"
        )
    return Check("python", State.OK, said)


def _disk(loaded: Loaded) -> Check:
    free = shutil.disk_usage(loaded.folder).free
    said = f"{free / 1024**3:.1f} GiB free in {loaded.folder}"
    if not os.access(loaded.folder, os.W_OK):
        return Check("disk", State.WARN, f"{loaded.folder} is read-only", "`muster up` needs it")
    if free < _LOW_DISK:
        return Check("disk", State.WARN, said, "make room: the bus keeps tasks on disk")
    return Check("disk", State.OK, said)


def _files() -> Check:
    try:
        import resource
    except ImportError:
        return Check("open files", State.OK, "this system has no such limit")
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= limit < _FEW_FILES:
        return Check("open files", State.WARN, f"at most {limit}", "raise it: `ulimit -n 4096`")
    return Check("open files", State.OK, f"at most {limit}" if limit >= 0 else "unlimited")


def _clock() -> Check:
    """Delays and deadlines are wall times: a clock that is far off shows itself by its year."""
    now = time.gmtime()
    said = time.strftime("%Y-%m-%d %H:%M:%S UTC", now)
    if now.tm_year < 2024:
        return Check("clock", State.WARN, said, "set the clock: deadlines depend on it")
    return Check("clock", State.OK, said)


def roles(loaded: Loaded) -> Check:
    """Whether every role imports."""
    try:
        found = all_roles(loaded)
    except RoleError as error:
        what, why, do = error.lines()
        return Check("roles", State.FAIL, f"{what}: {why}", do, error)
    return Check("roles", State.OK, f"{len(found)}: {', '.join(sorted(found))}")


async def bus(loaded: Loaded) -> list[Check]:
    """Whether the bus answers and can keep its promises."""
    try:
        url = masked(bus_url(loaded))
        began = time.monotonic()
        connection = await open_bus(loaded, source="/muster/doctor")
    except MusterError as error:
        what, why, do = error.lines()
        return [Check("bus", State.FAIL, f"{what}: {why}", do, error)]
    took = (time.monotonic() - began) * 1000
    try:
        workers = await present(connection.store)
        seen = await last_seen(connection.store)
    except BusError as error:
        what, why, do = error.lines()
        return [Check("bus", State.FAIL, f"{what}: {why}", do, error)]
    finally:
        await connection.close()
    answers = Check("bus", State.OK, f"{url} answers, JetStream is on ({took:.0f} ms)")
    now = time.time()
    found = [answers, _safety(loaded), _room(loaded), _skew(workers, now)]
    return [*found, _groups(workers, seen, now)]


def _groups(workers: Sequence[Alive], seen: Mapping[str, float], now: float) -> Check:
    """Whether every group that had workers has some: what is accepted for it waits."""
    gone = deserted(set(seen) - {worker.role for worker in workers}, seen, now)
    if not gone:
        return Check("groups", State.OK, f"{len(seen)} had a worker within a day")
    longest = sorted(gone, key=lambda group: -gone[group])
    said = ", ".join(f"{group} ({times.ago(gone[group])})" for group in longest)
    error = Deserted(
        f"{len(gone)} of {len(seen)} groups have had no worker for a day",
        details=said,
        actions=(f"start one: `muster work {longest[0]}`", "see what waits: `muster lag`"),
    )
    return Check("groups", State.FAIL, f"no worker for a day: {said}", error.lines()[2], error)


def _skew(workers: Sequence[Alive], now: float) -> Check:
    """Whether the clocks of other hosts agree: nobody can have renewed in our future."""
    if not workers:
        return Check("workers", State.WARN, "nobody works", "start them: `muster up`")
    ahead = max(worker.at - now for worker in workers)
    said = f"{len(workers)} work on {len({worker.host for worker in workers})} hosts"
    if ahead > _SKEW:
        do = "let every host follow one clock (NTP): deadlines depend on it"
        return Check("workers", State.WARN, f"{said}; a clock is {ahead:.1f} s ahead of ours", do)
    return Check("workers", State.OK, said)


def _room(loaded: Loaded) -> Check:
    """Whether the disk can hold what the fleet may fill: seen of the embedded server only."""
    most = loaded.settings.bus.max_bytes or MAX_BYTES
    said = f"tasks may fill {most / 1e9:.1f} GB"
    if loaded.settings.bus.url is not None:
        return Check("room", State.OK, f"{said} of the broker's disk")
    free = shutil.disk_usage(loaded.folder).free
    if free < most:
        do = (
            "set bus.max_bytes below what is free: a full disk takes nothing, also no end of a task"
        )
        return Check("room", State.WARN, f"{said}, {free / 1e9:.1f} GB are free", do)
    return Check("room", State.OK, said)


def _safety(loaded: Loaded) -> Check:
    """Whether what is accepted is on disk: the client can see that of the embedded server only."""
    server = embedded.find(loaded.state) if loaded.settings.bus.url is None else None
    if server is None:
        do = "look at its configuration: `jetstream { sync_interval: always }`"
        return Check("sync", State.WARN, "a client cannot see whether it syncs every write", do)
    text = (server.folder / "server.conf").read_text(encoding="utf-8")
    if "sync_interval: always" in text:
        said = f"embedded server {server.version} syncs every write"
        return Check("sync", State.OK, said)
    return Check("sync", State.WARN, "writes are not synced", "`muster down`, then `muster up`")
