"""The embedded PostgreSQL of a folder: started once, found again, stopped by its own id.

It runs detached from the terminal and outlives the process that started it. What it needs to be
found again lies in `STATE/postgres/`: its configuration, its log and its data, with the server's
own `postmaster.pid`. A process counts as ours only if its command line names our data folder, so
that neither a re-used process id nor a copied folder leads to somebody else's process.

It listens on a socket in a folder that only its owner may enter, and on no port.
"""

import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from deploy import accounts, folders, postgres_server, processes
from deploy.accounts import Account
from deploy.errors import ServerFailed
from deploy.postgres_folder import Folder, Record, launch, make_ready
from deploy.postgres_server import Program, State

_KILL_SECONDS = 5.0
_PASSING = ("still in use", "already exists")
"""What a server says that finds the last processes of one which was killed just before."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A running embedded server that answers at `url`."""

    url: str
    pid: int
    version: str
    folder: Path
    log: Path

    def __str__(self) -> str:
        return f"PostgreSQL {self.version} in {self.folder}, pid {self.pid}"


def exists(state: Path) -> bool:
    """Whether a server has ever been started under `state`."""
    return _place(state).data.exists()


def find(state: Path) -> Embedded | None:
    """The server started earlier in the folder `state`, if it is alive and answers within 2 s."""
    place = _place(state)
    process = _process(place)
    return _embedded(place, process, timeout=2.0) if process else None


def start(state: Path, *, timeout: float = 30.0) -> Embedded:
    """The server of the folder `state`, started if it does not run; returns when it answers.

    Safe to call from several processes at once: one starts it, the others find it. A server of
    ours that is alive but has not answered within `timeout` seconds is ended and started again;
    one that says it recovers is waited for. As the administrator it runs as an account of its
    own, which may then pass the folders above its data.

    Raises `ServerMissing`, `ServerFailed` with the end of the server's log, `OtherVersion`,
    `NoAccount`, `FolderUnusable`, `Busy`.
    """
    place = _place(state)
    folders.prepare(place.path)
    with processes.locked(postgres_server.NAME, place.path, timeout):
        process = _process(place)
        if process is not None:
            if found := _embedded(place, process, timeout=timeout, patient=True):
                return found
            _end(place, process, timeout=_KILL_SECONDS)
        return _start(place, timeout)


def stop(state: Path, *, timeout: float = 10.0) -> bool:
    """End the server of the folder `state`, in good order if it can be within `timeout` seconds;
    its clients are cut off. Its data stay. False when none runs. Raises `Busy` while another
    process starts it, `ServerFailed` if not even a kill ends it."""
    place = _place(state)
    if not place.path.is_dir():
        return False
    with processes.locked(postgres_server.NAME, place.path, timeout):
        process = _process(place)
        if process is None:
            return False
        record = place.record()
        _end(place, process, timeout=timeout)
        if record is not None and record.sockets != place.path:
            with suppress(OSError):
                record.sockets.rmdir()
        return True


def _place(state: Path) -> Folder:
    return Folder(state.resolve() / "postgres")


def _process(place: Folder) -> psutil.Process | None:
    record = place.record()
    with suppress(psutil.Error, ValueError):
        process = psutil.Process(record.pid) if record else None
        return process if process and _runs(place, process) else None
    return None


def _runs(place: Folder, process: psutil.Process) -> bool:
    try:
        command = process.cmdline()
        alive = process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
    return alive and command[1:] == place.arguments


def _embedded(
    place: Folder, process: psutil.Process, *, timeout: float, patient: bool = False
) -> Embedded | None:
    """The running server once it takes statements; None if it ends or stays silent. `patient`:
    one that says it cannot yet is not silent."""
    deadline = time.monotonic() + timeout
    while _runs(place, process) and (left := deadline - time.monotonic()) > 0:
        record = place.record()
        if record is not None and record.pid == process.pid:
            state = postgres_server.greeting(record.sockets, timeout=min(left, 2.0))
            if state is State.READY:
                return _describe(place, record)
            if state is State.STARTING and patient:
                deadline = max(deadline, time.monotonic() + timeout)
        time.sleep(processes.POLL_SECONDS)
    return None


def _describe(place: Folder, record: Record) -> Embedded:
    return Embedded(
        url=postgres_server.url(record.sockets),
        pid=record.pid,
        version=postgres_server.data_version(place.data) or "unknown",
        folder=place.path,
        log=place.log,
    )


def _start(place: Folder, timeout: float) -> Embedded:
    program = postgres_server.locate()
    account = accounts.for_server(place.data)
    make_ready(place, program, account)
    deadline = time.monotonic() + timeout
    while True:
        since = processes.size(place.log)
        process = _process(place) or _spawn(place, program, account)
        if found := _embedded(place, process, timeout=timeout, patient=True):
            return found
        silent = _runs(place, process)
        _end(place, process, timeout=_KILL_SECONDS)
        tail = processes.tail(place.log, since=since)
        if silent:
            raise place.failed(f"it did not answer within {timeout:g} s", tail)
        passing = any(word in line for word in _PASSING for line in tail)
        if not passing or time.monotonic() >= deadline:
            raise place.failed("it ended at once", tail)
        time.sleep(processes.POLL_SECONDS)


def _spawn(place: Folder, program: Program, account: Account) -> psutil.Process:
    child = launch(place, program, account)
    process = psutil.Process(child.pid)
    processes.until_named(process)
    # Whoever starts it is its parent: a server that ends must not stay behind as a zombie.
    threading.Thread(target=child.wait, name="postgres-wait", daemon=True).start()
    return process


def _end(place: Folder, process: psutil.Process, *, timeout: float) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGINT)  # "fast": clients are cut off, everything is written
        if not processes.ended(process, timeout):
            process.kill()
            if not processes.ended(process, _KILL_SECONDS):
                raise ServerFailed(postgres_server.NAME, "it cannot be ended", place.log, ())
