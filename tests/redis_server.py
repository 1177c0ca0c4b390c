"""A real Redis server for tests, which may be killed, frozen and restarted."""

import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from typing_extensions import override

from deploy import ports
from tests.server_process import ServerProcess
from tests.servers import missing


def locate() -> str | None:
    """The program, if there is one."""
    return shutil.which("redis-server")


def version() -> str:
    """What it says of itself, such as `v=7.0.15`."""
    program = locate()
    if program is None:
        return "redis-server is missing"
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return " ".join(done.stdout.split()[:3])


class RedisServer(ServerProcess):
    """One Redis server that syncs every write, its files under `folder`.

    The port stays the same over `kill` and `restart`, so that clients can find it again. `more` are
    lines for its configuration; `tls` moves its port to TLS, for which those must say the rest.
    """

    program = "redis-server"
    database: str | None = None
    lease = 1.5
    fallback: str | None = None

    def __init__(self, folder: Path, *, more: Sequence[str] = (), tls: bool = False) -> None:
        super().__init__(folder)
        self._more = more
        self._tls = tls
        self._port = ports.free()

    @property
    def url(self) -> str:
        """Where clients connect."""
        scheme, host = ("rediss", "localhost") if self._tls else ("redis", ports.LOOPBACK)
        return f"{scheme}://{host}:{self._port}"

    @property
    def store(self) -> "RedisServer":
        """Its key-value store lies on itself."""
        return self

    @override
    def _prepared(self) -> Sequence[str | Path]:
        program = locate()
        if program is None:
            missing("redis", "redis-server is not on PATH; tests/install/redis.sh installs it")
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "server.conf"
        config.write_text("\n".join([*self._settings(), *self._more, ""]), encoding="utf-8")
        return [program, config]

    def _settings(self) -> list[str]:
        port, tls = (0, self._port) if self._tls else (self._port, 0)
        return [
            f"bind {ports.LOOPBACK}",
            f"port {port}",
            *([f"tls-port {tls}"] if tls else []),
            f'dir "{self.folder}"',
            "appendonly yes",
            "appendfsync always",
            'save ""',
            "daemonize no",
        ]

    @override
    def _answers(self) -> bool:
        """Whether it has read its files and takes commands; one that wants a password does."""
        try:
            with socket.create_connection((ports.LOOPBACK, self._port), timeout=1.0) as raw:
                if self._tls:
                    return True
                raw.settimeout(1.0)
                raw.sendall(b"PING\r\n")
                return raw.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False
