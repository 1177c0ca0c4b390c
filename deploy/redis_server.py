"""The program `redis-server`: where it is, how it is configured, what it says about itself."""

import re
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil
from typing_extensions import override

from deploy.errors import ServerMissing
from deploy.folders import write
from deploy.ports import LOOPBACK
from deploy.program import Launch, Place
from deploy.program import Program as Embeddable

NAME = "redis-server"
OLDEST = (7, 0)
"""The first release that the backend was tried on."""
INSTALL = "install it: `make servers BROKERS=redis`"

_VERSION = re.compile(r"v=(\d+)\.(\d+)\.(\d+)")
_PORT = re.compile(r"^port (\d+)$", re.MULTILINE)
_ASK = b"PING\r\nINFO server\r\n"
"""One that reads its files answers the second, and the first with an error."""


@dataclass(frozen=True, slots=True)
class Program:
    """A server binary and its version, such as `7.0.15`."""

    path: Path
    version: str


def locate() -> Program:
    """The binary on PATH. Raises `ServerMissing` where there is none that is new enough."""
    found = shutil.which(NAME)
    if found is None:
        raise ServerMissing(NAME, f"PATH has no {NAME}", install=INSTALL)
    done = subprocess.run(
        [found, "--version"], capture_output=True, text=True, timeout=10, check=False
    )
    match = _VERSION.search(done.stdout)
    if match is None or tuple(map(int, match.groups())) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        reason = f"{found} is older than {oldest}, or does not run"
        raise ServerMissing(NAME, reason, install=f"install {NAME} {oldest} or newer")
    return Program(Path(found), ".".join(match.groups()))


def configuration(
    folder: Path, *, port: int, tls_port: int | None = None, most: int | None = None
) -> str:
    """The text of a configuration that loses nothing that was acknowledged.

    `appendfsync always` is what "accepted means kept" rests on: with Redis' own default a machine
    that stops loses a second. Only this machine can connect. `tls_port`: by TLS, for which more
    lines have to say the rest. `most`: bytes after which it refuses what would need more.
    """
    quoted = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    lines = [
        f"bind {LOOPBACK}",
        f"port {port}",
        f'dir "{quoted}"',
        "appendonly yes",
        "appendfsync always",
        'save ""',
        "maxmemory-policy noeviction",
        "daemonize no",
    ]
    if tls_port is not None:
        lines.append(f"tls-port {tls_port}")
    if most is not None:
        lines.append(f"maxmemory {most}")
    return "\n".join(lines) + "\n"


def answers(port: int, *, timeout: float = 1.0) -> bool:
    """Whether it has read its files and takes commands; one that wants a password does."""
    return _asked(port, b"PING\r\n", timeout).startswith((b"+PONG", b"-NOAUTH"))


def _asked(port: int, command: bytes, timeout: float) -> bytes:
    """The beginning of its answer; nothing where none comes."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout) as connection:
            connection.settimeout(timeout)
            connection.sendall(command)
            return connection.recv(4096)
    except OSError:
        return b""


class Redis(Embeddable):
    """It as the embedded server of a folder."""

    name = NAME
    folder = "redis"
    title = "Redis"
    scheme = "redis"
    process = (NAME,)

    @override
    def locate(self) -> Program:
        return locate()

    @override
    def release(self) -> str:
        return locate().version

    @override
    def prepare(self, place: Place, port: int) -> Launch:
        half = psutil.virtual_memory().total // 2
        write(place.config, configuration(place.folder, port=port, most=half))
        return Launch([locate().path, place.config])

    @override
    def configured_port(self, place: Place) -> int | None:
        try:
            match = _PORT.search(place.config.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            return None
        return int(match[1]) if match else None

    @override
    def version(self, place: Place, pid: int, *, timeout: float) -> str | None:
        port = self.configured_port(place)
        said = b"" if port is None else _asked(port, _ASK, timeout)
        if not said.startswith(b"+PONG") or b"\r\nprocess_id:%d\r\n" % pid not in said:
            return None
        _, _, version = said.partition(b"\r\nredis_version:")
        return version.partition(b"\r\n")[0].decode() or None
