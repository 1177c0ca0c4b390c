"""The program `nats-server`: where it is, how it is configured, what it says about itself."""

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from typing_extensions import override

from deploy.errors import ServerMissing
from deploy.folders import write
from deploy.ports import LOOPBACK
from deploy.program import Launch, Place
from deploy.program import Program as Embeddable

NAME = "nats-server"
OLDEST = (2, 12)
"""The first release with atomic batches (`allow_atomic`), which publishing needs."""
MAX_PAYLOAD_BYTES = 1024 * 1024
"""The server's own default, written down because envelopes are checked against it."""

_LISTEN = re.compile(r"^listen: [\d.]+:(\d+)$", re.MULTILINE)
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Program:
    """A server binary and its version, such as `2.15.1`."""

    path: Path
    version: str


def locate(folders: Sequence[str] | None = None) -> Program:
    """The binary to run: the one on PATH if it is new enough, else the one of this environment.

    `folders` are searched in their order instead, each written like PATH. Raises `ServerMissing`.
    """
    if folders is None:
        folders = (os.environ.get("PATH", os.defpath), sysconfig.get_path("scripts"))
    unfit: list[str] = []
    for found in dict.fromkeys(shutil.which(NAME, path=folder) for folder in folders):
        if found is None:
            continue
        version = _version(found)
        if version is not None and version >= OLDEST:
            return Program(Path(found), ".".join(map(str, version)))
        unfit.append(found)
    oldest = ".".join(map(str, OLDEST))
    reason = f"older than {oldest} or not runnable: {', '.join(unfit)}" if unfit else ""
    raise ServerMissing(NAME, reason or "neither PATH nor this environment has it")


def _version(path: str) -> tuple[int, int, int] | None:
    try:
        said = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(said)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def configuration(
    folder: Path, *, port: int, name: str, log: Path | None = None, monitor: int | None = None
) -> str:
    """The text of a configuration that loses nothing that was acknowledged.

    `sync_interval: always` is what "accepted means kept" rests on: without it a machine that
    stops loses up to two minutes. Everything lies under `folder`; only this machine can connect.
    """
    lines = [
        f"listen: {LOOPBACK}:{port}",
        f"server_name: {_quoted(name)}",
        f"max_payload: {MAX_PAYLOAD_BYTES}",
        f"jetstream {{ store_dir: {_quoted(folder / 'store')}, sync_interval: always }}",
    ]
    if monitor is not None:
        lines.append(f"http: {_quoted(f'{LOOPBACK}:{monitor}')}")
    if log is not None:
        lines.append(f"log_file: {_quoted(log)}")
        lines += ["logfile_size_limit: 10MB", "logfile_max_num: 3"]
    return "\n".join(lines) + "\n"


def _quoted(value: Path | str) -> str:
    return json.dumps(str(value), ensure_ascii=False)  # the server knows no \\u escapes


def configured_port(config: Path) -> int | None:
    """The port a configuration written by `configuration` listens on; None if it is not one."""
    try:
        match = _LISTEN.search(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return int(match[1]) if match else None


def greeting(port: int, *, timeout: float = 1.0) -> Mapping[str, Any] | None:
    """What the server says first to a client (its `INFO` line); None if none answers.

    The server accepts clients only after JetStream has recovered its store: who is greeted can
    use it. Source: the NATS client protocol, `INFO {json} CRLF`.
    """
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout) as connection:
            connection.settimeout(timeout)
            with connection.makefile("rb") as stream:
                line = stream.readline(64 * 1024)
    except OSError:
        return None
    if not line.startswith(b"INFO "):
        return None
    try:
        said = json.loads(line.removeprefix(b"INFO "))
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


class Nats(Embeddable):
    """It as the embedded server of a folder."""

    name = NAME
    folder = "nats"
    title = "NATS JetStream"
    scheme = "nats"
    process = (NAME,)

    @override
    def locate(self) -> Program:
        return locate()

    @override
    def release(self) -> str:
        return locate().version

    @override
    def prepare(self, place: Place, port: int) -> Launch:
        text = configuration(place.folder, port=port, name=_name(place), log=place.log)
        write(place.config, text)
        return Launch([locate().path, *_arguments(place)])

    @override
    def configured_port(self, place: Place) -> int | None:
        return configured_port(place.config)

    @override
    def version(self, place: Place, pid: int, *, timeout: float) -> str | None:
        port = configured_port(place.config)
        said = None if port is None else greeting(port, timeout=timeout)
        if said is None or said.get("server_name") != _name(place):
            return None
        return str(said.get("version", "unknown"))

    @override
    def is_ours(self, place: Place, process: psutil.Process) -> bool:
        return process.cmdline()[-2:] == _arguments(place)


def _arguments(place: Place) -> list[str]:
    return ["-c", str(place.config)]


def _name(place: Place) -> str:
    return f"muster-{hashlib.sha256(bytes(place.folder)).hexdigest()[:12]}"
