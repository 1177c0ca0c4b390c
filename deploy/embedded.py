"""The embedded servers of a folder: started once, found again, stopped by their own ids.

Each runs detached from the terminal and outlives the process that started it. What it needs to be
found again lies in `STATE/NAME/`: its configuration, its log, its store and `server.json`. A
process counts as ours only if its program says so (`Program.is_ours`), so that neither a re-used
process id nor a copied folder leads to somebody else's process.
"""

import re
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from contracts.errors import InvalidValue
from deploy import folders, ports, processes
from deploy.errors import AlreadyRunning, PortTaken, ServerFailed
from deploy.program import Place, Program

_SAME_START_SECONDS = 2.0
"""How far a process's start time may seem to move when the system's clock is corrected."""
_ATTEMPTS = 3
"""A free port may be taken by another program before the server listens on it."""
_KILL_SECONDS = 5.0
_LOGIN = re.compile(r"//[^/@]*@")
_MOST_LOG = 10_000_000
"""Bytes of a log from which the next start begins a new one; the last one is kept."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A running embedded server that answers at `url`."""

    url: str
    pid: int
    port: int
    version: str
    folder: Path
    log: Path
    title: str

    def __str__(self) -> str:
        where = _LOGIN.sub("//", self.url)
        return f"{self.title} {self.version} on {where}, pid {self.pid}"


class _Record(BaseModel):
    """`server.json`: which process was started, so that its id is not taken for another's."""

    model_config = ConfigDict(frozen=True)

    pid: int
    created: float


def find(program: Program, state: Path) -> Embedded | None:
    """The server started earlier in the folder `state`, if it is alive and answers within 2 s."""
    place = _place(program, state)
    process = _process(program, place)
    return _embedded(program, place, process, timeout=2.0) if process else None


def start(
    program: Program, state: Path, *, port: int = 0, timeout: float | None = None
) -> Embedded:
    """The server of the folder `state`, started if it does not run; returns when it answers.

    Port 0 is the port it had last if that is free, else any free one. Safe to call from several
    processes at once: one starts it, the others find it. A server of ours that is alive but has
    not answered within `timeout` seconds (by default as its program says) is ended and started
    again; its data is kept.

    Raises `PortTaken`, `AlreadyRunning` (on another port than asked), `ServerMissing`,
    `ServerFailed` with the end of the server's log, `FolderUnusable`, `Busy`, and `InvalidValue`
    for an impossible port.
    """
    if not 0 <= port <= 65535:
        raise InvalidValue(f"port {port} does not exist", details="ports go from 1 to 65535")
    patience = program.patience if timeout is None else timeout
    place = _place(program, state)
    folders.prepare(place.folder)
    with processes.locked(program.name, place.folder, patience):
        process = _process(program, place)
        if process is not None:
            if found := _embedded(program, place, process, timeout=patience):
                if port not in (0, found.port):
                    raise AlreadyRunning(program.name, found.port, port)
                return found
            _end(program, place, process, timeout=_KILL_SECONDS)
        return _start(program, place, port, patience)


def stop(program: Program, state: Path, *, timeout: float = 10.0) -> bool:
    """End the server of the folder `state`, gracefully if it can be within `timeout` seconds.

    Its data stays. False when none runs. Raises `Busy` while another process starts it,
    `ServerFailed` if not even a kill ends it.
    """
    place = _place(program, state)
    if not place.folder.is_dir():
        return False
    with processes.locked(program.name, place.folder, timeout):
        process = _process(program, place)
        if process is not None:
            _end(program, place, process, timeout=timeout)
        program.clear_up(place)
        place.record.unlink(missing_ok=True)
        return process is not None


def _place(program: Program, state: Path) -> Place:
    return Place(state.resolve() / program.folder)


def _process(program: Program, place: Place) -> psutil.Process | None:
    """Our server's process: the recorded one, or one whose record was lost."""
    try:
        record = _Record.model_validate_json(place.record.read_bytes())
        process = psutil.Process(record.pid)
        same = abs(process.create_time() - record.created) < _SAME_START_SECONDS
        if same and _runs(program, place, process):
            return process
    except (OSError, ValidationError, psutil.Error, ValueError):
        pass
    if not place.config.exists():
        return None
    return next((p for p in psutil.process_iter() if _runs(program, place, p)), None)


def _runs(program: Program, place: Place, process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and program.is_ours(place, process)
    except psutil.Error:
        return False


def _embedded(
    program: Program, place: Place, process: psutil.Process, *, timeout: float
) -> Embedded | None:
    """The running server once it answers as that process; None if it ends or stays silent."""
    deadline = time.monotonic() + timeout
    port = program.configured_port(place)
    while port is not None and _runs(program, place, process):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        version = program.version(place, process.pid, timeout=min(left, 2.0))
        if version is not None:
            return Embedded(
                url=program.url(port),
                pid=process.pid,
                port=port,
                version=version,
                folder=place.folder,
                log=place.log,
                title=program.title,
            )
        time.sleep(processes.POLL_SECONDS)
    return None


def _start(program: Program, place: Place, asked: int, timeout: float) -> Embedded:
    program.locate()
    if processes.size(place.log) > _MOST_LOG:
        place.log.replace(place.log.with_suffix(".log.1"))
    tail: Sequence[str] = ()
    for _ in range(_ATTEMPTS):
        log_start = processes.size(place.log)
        port = _choose_port(program, place, asked)
        process = _spawn(program, place, port)
        if found := _embedded(program, place, process, timeout=timeout):
            return found
        silent = _runs(program, place, process)
        _end(program, place, process, timeout=_KILL_SECONDS)
        tail = processes.tail(place.log, since=log_start)
        if silent:
            reason = f"it did not answer within {timeout:g} s"
            raise ServerFailed(program.name, reason, place.log, tail)
        if ports.is_free(port):
            break
    raise ServerFailed(program.name, "it ended at once", place.log, tail)


def _choose_port(program: Program, place: Place, asked: int) -> int:
    if asked:
        if not ports.is_free(asked):
            raise PortTaken(asked, ports.owner(asked))
        return asked
    last = program.configured_port(place)
    return last if last and ports.is_free(last) else ports.free()


def _spawn(program: Program, place: Place, port: int) -> psutil.Process:
    launch = program.prepare(place, port)
    child = processes.spawn(launch.command, place.log, place.folder, launch.environment)
    process = psutil.Process(child.pid)
    processes.until_named(process)
    record = _Record(pid=child.pid, created=process.create_time())
    # Whoever starts it is its parent: a server that ends must not stay behind as a zombie.
    threading.Thread(target=child.wait, name=f"{program.folder}-wait", daemon=True).start()
    folders.write(place.record, record.model_dump_json())
    return process


def _end(program: Program, place: Place, process: psutil.Process, *, timeout: float) -> None:
    with suppress(psutil.NoSuchProcess):
        process.terminate()
        if not processes.ended(process, timeout):
            process.kill()
            if not processes.ended(process, _KILL_SECONDS):
                raise ServerFailed(program.name, "it cannot be ended", place.log, ())
