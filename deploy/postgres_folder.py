"""The folder of an embedded PostgreSQL: its data, its configuration, its socket, its processes."""

import hashlib
import os
import re
import secrets
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from deploy import folders, postgres_server, processes
from deploy.accounts import Account
from deploy.errors import FolderUnusable, OtherVersion, ServerFailed
from deploy.postgres_server import Program

_LONGEST_SOCKET = 103
"""Bytes of a socket's path: 104 with the end mark on macOS, 108 on Linux (unix(7))."""
_PLAIN = re.compile(r"[\w./+-]+", re.ASCII)
"""Paths that need no quoting in any client's address."""
_MOST_LOG = 10_000_000
"""Bytes of a log from which the next start begins a new one; the last one is kept."""
_FRESH = "data.new-"
_CREATE = f"CREATE DATABASE {postgres_server.DATABASE}\n"


@dataclass(frozen=True, slots=True)
class Record:
    """What the server itself wrote about its process."""

    pid: int
    sockets: Path


@dataclass(frozen=True, slots=True)
class Folder:
    """`STATE/postgres/`."""

    path: Path

    @property
    def data(self) -> Path:
        """The server's own folder."""
        return self.path / "data"

    @property
    def config(self) -> Path:
        """What `postgres_server.configuration` says."""
        return self.path / "server.conf"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.path / "server.log"

    @property
    def arguments(self) -> list[str]:
        """By these a process counts as the server of this folder."""
        return ["-D", str(self.data), "-c", f"config_file={self.config}"]

    def record(self) -> Record | None:
        """`postmaster.pid`: the process id is its first line, the socket's folder its fifth."""
        try:
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            return Record(int(lines[0]), Path(lines[4]))
        except (OSError, ValueError, IndexError):
            return None

    def failed(self, reason: str, tail: Sequence[str]) -> ServerFailed:
        """The error of a server that did what `tail` ends with."""
        told = [line for line in tail if "FATAL" in line] or tail
        return ServerFailed(postgres_server.NAME, reason, self.log, told)


def make_ready(place: Folder, program: Program, account: Account) -> None:
    """Make the data folder if there is none, and write the configuration of the next start.

    Raises `OtherVersion`, `FolderUnusable`, `ServerFailed`.
    """
    found, ours = postgres_server.data_version(place.data), str(postgres_server.MAJOR)
    if place.data.exists() and found != ours:
        unknown = found or "of an unknown version"
        raise OtherVersion(postgres_server.NAME, place.data, found=unknown, ours=ours)
    account.own(place.path)
    account.reach(place.data)
    account.read(program.folder.parent)
    for old in place.path.glob(f"{_FRESH}*"):
        shutil.rmtree(old, ignore_errors=True)
    if not place.data.exists():
        _create(place, program, account)
    folders.write(place.config, postgres_server.configuration(_sockets(place, account)))
    account.own(place.config)
    if processes.size(place.log) > _MOST_LOG:
        place.log.replace(place.log.with_suffix(".log.1"))
    record = place.record()
    if record is not None and _is_another_program(record.pid):
        _disown(place, record.pid)


def launch(place: Folder, program: Program, account: Account) -> "subprocess.Popen[bytes]":
    """Start the server, which must not run."""
    with place.log.open("ab") as log:
        return subprocess.Popen(
            [program.postgres, *place.arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=place.path,
            env=_environment(),
            user=account.uid,
            group=account.gid,
            extra_groups=account.groups,
            umask=0o077,
            start_new_session=True,  # Ctrl-C in the terminal ends the fleet, not its history
        )


def _create(place: Folder, program: Program, account: Account) -> None:
    """Make the data folder under another name first: one that is there is whole. The name is new:
    what a starter that was killed has begun may still be going on."""
    fresh = place.path / f"{_FRESH}{secrets.token_hex(4)}"
    collation = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    access = ["--username", postgres_server.SUPERUSER, "--auth=trust"]
    init: list[str | Path] = [program.initdb, "-D", fresh, "--encoding=UTF8", *collation, *access]
    _run(place, account, init)
    _run(place, account, [program.postgres, "--single", "-D", fresh, "postgres"], given=_CREATE)
    fresh.rename(place.data)


def _run(
    place: Folder, account: Account, command: Sequence[str | Path], *, given: str = ""
) -> None:
    since = processes.size(place.log)
    with place.log.open("ab") as log:
        done = subprocess.run(
            command,
            input=given.encode(),
            stdout=log,
            stderr=log,
            cwd=place.path,
            env=_environment(),
            user=account.uid,
            group=account.gid,
            extra_groups=account.groups,
            umask=0o077,
            check=False,
        )
    if done.returncode:
        tail = processes.tail(place.log, since=since)
        raise place.failed("its data folder cannot be made", tail)


def _environment() -> dict[str, str]:
    """Nothing that would change what it does, such as PGDATA or a language."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


def _is_another_program(pid: int) -> bool:
    try:
        return psutil.Process(pid).name() != "postgres"
    except (psutil.Error, ValueError):
        return False


def _disown(place: Folder, pid: int) -> None:
    """Put our own process id for one that is another program's by now: the server would take it
    for a server that runs, but never its own parent. The rest of the record stays: by it the
    server sees whether processes of the one before still live."""
    file = place.data / "postmaster.pid"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(str(pid), str(os.getpid()), 1), encoding="utf-8")


def _sockets(place: Folder, account: Account) -> Path:
    """The folder of the socket: beside the data, or a short one where that path is too long."""
    name = f"muster-{hashlib.sha256(bytes(place.path)).hexdigest()[:12]}"
    short = [Path(base) / name for base in (tempfile.gettempdir(), "/tmp")]  # noqa: S108 - checked
    for folder in (place.path, *short):
        length = len(bytes(postgres_server.socket_file(folder)))
        if length <= _LONGEST_SOCKET and _PLAIN.fullmatch(str(folder)):
            if folder != place.path:
                _take(folder, account)
            return folder
    raise FolderUnusable(place.path, "no folder for temporary files has a path short enough")


def _take(folder: Path, account: Account) -> None:
    """Make a folder for the socket where everybody may make folders, or take our own again."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.geteuid(), account.uid}:
        raise FolderUnusable(folder, "it belongs to somebody else")
    folder.chmod(0o700)
    account.own(folder)
    account.reach(folder)
