"""The embedded NATS server of a folder: started once, found again, stopped by its own id.

It runs detached from the terminal and outlives the process that started it. What it needs to be
found again lies in `STATE/nats/`: its configuration, its log, its store and `server.json`. A
process counts as ours only if its command line names our configuration file, so that neither a
re-used process id nor a copied folder leads to somebody else's process.
"""

import hashlib
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from contracts.errors import InvalidValue
from deploy import nats_server, ports, processes
from deploy.errors import AlreadyRunning, PortTaken, ServerFailed

_SAME_START_SECONDS = 2.0
"""How far a process's start time may seem to move when the system's clock is corrected."""
_ATTEMPTS = 3
"""A free port may be taken by another program before the server listens on it."""
_KILL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Embedded:
    """A running embedded server that answers at `url`."""

    url: str
    pid: int
    port: int
    version: str
    folder: Path
    log: Path

    def __str__(self) -> str:
        return f"NATS JetStream {self.version} on {self.url}, pid {self.pid}"


class _Record(BaseModel):
    """`server.json`: which process was started, so that its id is not taken for another's."""

    model_config = ConfigDict(frozen=True)

    pid: int
    created: float


@dataclass(frozen=True, slots=True)
class _Place:
    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "server.conf"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    @property
    def record(self) -> Path:
        return self.folder / "server.json"

    @property
    def name(self) -> str:
        return f"muster-{hashlib.sha256(bytes(self.folder)).hexdigest()[:12]}"


def find(state: Path) -> Embedded | None:
    """The server started earlier in the folder `state`, if it is alive and answers within 2 s."""
    place = _place(state)
    process = _process(place)
    return _embedded(place, process, timeout=2.0) if process else None


def start(state: Path, *, port: int = 0, timeout: float = 30.0) -> Embedded:
    """The server of the folder `state`, started if it does not run; returns when it answers.

    Port 0 is the port it had last if that is free, else any free one. Safe to call from several
    processes at once: one starts it, the others find it. A server of ours that is alive but has
    not answered within `timeout` seconds is ended and started again; its data is kept.

    Raises `PortTaken`, `AlreadyRunning` (on another port than asked), `ServerMissing`,
    `ServerFailed` with the end of the server's log, `FolderUnusable`, `Busy`, and `InvalidValue`
    for an impossible port.
    """
    if not 0 <= port <= 65535:
        raise InvalidValue(f"port {port} does not exist", details="ports go from 1 to 65535")
    place = _place(state)
    processes.prepare(place.folder)
    with processes.locked(nats_server.NAME, place.folder, timeout):
        process = _process(place)
        if process is not None:
            if found := _embedded(place, process, timeout=timeout):
                if port not in (0, found.port):
                    raise AlreadyRunning(nats_server.NAME, found.port, port)
                return found
            _end(place, process, timeout=_KILL_SECONDS)
        return _start(place, port, timeout)


def stop(state: Path, *, timeout: float = 10.0) -> bool:
    """End the server of the folder `state`, gracefully if it can be within `timeout` seconds.

    Its data stays. False when none runs. Raises `Busy` while another process starts it,
    `ServerFailed` if not even a kill ends it.
    """
    place = _place(state)
    if not place.folder.is_dir():
        return False
    with processes.locked(nats_server.NAME, place.folder, timeout):
        process = _process(place)
        if process is not None:
            _end(place, process, timeout=timeout)
        place.record.unlink(missing_ok=True)
        return process is not None


def _place(state: Path) -> _Place:
    return _Place(state.resolve() / "nats")


def _process(place: _Place) -> psutil.Process | None:
    """Our server's process: the recorded one, or one whose record was lost."""
    try:
        record = _Record.model_validate_json(place.record.read_bytes())
        process = psutil.Process(record.pid)
        same = abs(process.create_time() - record.created) < _SAME_START_SECONDS
        if same and _runs(place, process):
            return process
    except (OSError, ValidationError, psutil.Error, ValueError):
        pass
    if not place.config.exists():
        return None
    return next((p for p in psutil.process_iter() if _runs(place, p)), None)


def _runs(place: _Place, process: psutil.Process) -> bool:
    try:
        command = process.cmdline()
        alive = process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
    return alive and command[-2:] == _arguments(place)


def _arguments(place: _Place) -> list[str]:
    return ["-c", str(place.config)]


def _embedded(place: _Place, process: psutil.Process, *, timeout: float) -> Embedded | None:
    """The running server once it greets us under its name; None if it ends or stays silent."""
    deadline = time.monotonic() + timeout
    port = nats_server.configured_port(place.config)
    while port is not None and _runs(place, process):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        said = nats_server.greeting(port, timeout=min(left, 2.0))
        if said is not None and said.get("server_name") == place.name:
            return _describe(place, process.pid, port, said)
        time.sleep(processes.POLL_SECONDS)
    return None


def _describe(place: _Place, pid: int, port: int, said: Mapping[str, Any]) -> Embedded:
    return Embedded(
        url=f"nats://{ports.LOOPBACK}:{port}",
        pid=pid,
        port=port,
        version=str(said.get("version", "unknown")),
        folder=place.folder,
        log=place.log,
    )


def _start(place: _Place, asked: int, timeout: float) -> Embedded:
    program = nats_server.locate()
    tail: Sequence[str] = ()
    for _ in range(_ATTEMPTS):
        log_start = processes.size(place.log)
        port = _choose_port(place, asked)
        process = _spawn(place, program, port)
        if found := _embedded(place, process, timeout=timeout):
            return found
        silent = _runs(place, process)
        _end(place, process, timeout=_KILL_SECONDS)
        tail = processes.tail(place.log, since=log_start)
        if silent:
            reason = f"it did not answer within {timeout:g} s"
            raise ServerFailed(nats_server.NAME, reason, place.log, tail)
        if ports.is_free(port):
            break
    raise ServerFailed(nats_server.NAME, "it ended at once", place.log, tail)


def _choose_port(place: _Place, asked: int) -> int:
    if asked:
        if not ports.is_free(asked):
            raise PortTaken(asked, ports.owner(asked))
        return asked
    last = nats_server.configured_port(place.config)
    return last if last and ports.is_free(last) else ports.free()


def _spawn(place: _Place, program: nats_server.Program, port: int) -> psutil.Process:
    text = nats_server.configuration(place.folder, port=port, name=place.name, log=place.log)
    processes.write(place.config, text)
    with place.log.open("ab") as log:
        child = subprocess.Popen(
            [program.path, *_arguments(place)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=place.folder,
            start_new_session=True,  # Ctrl-C in the terminal ends the fleet, not its bus
        )
    process = psutil.Process(child.pid)
    processes.until_named(process)
    record = _Record(pid=child.pid, created=process.create_time())
    # Whoever starts it is its parent: a server that ends must not stay behind as a zombie.
    threading.Thread(target=child.wait, name="nats-server-wait", daemon=True).start()
    processes.write(place.record, record.model_dump_json())
    return process


def _end(place: _Place, process: psutil.Process, *, timeout: float) -> None:
    with suppress(psutil.NoSuchProcess):
        process.terminate()
        if not processes.ended(process, timeout):
            process.kill()
            if not processes.ended(process, _KILL_SECONDS):
                raise ServerFailed(nats_server.NAME, "it cannot be ended", place.log, ())
