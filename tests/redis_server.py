"""A real Redis server for tests, which may be killed, frozen and restarted."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy import ports
from tests.freezing import freeze
from tests.servers import missing

_READY_SECONDS = 10.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.01


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


class RedisServer:
    """One Redis server that syncs every write, its files under `folder`.

    The port stays the same over `kill` and `restart`, so that clients can find it again. `more` are
    lines for its configuration; `tls` moves its port to TLS, for which those must say the rest.
    """

    database: str | None = None
    lease = 1.5

    def __init__(self, folder: Path, *, more: Sequence[str] = (), tls: bool = False) -> None:
        self.folder = folder
        self._more = more
        self._tls = tls
        self._port = ports.free()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        scheme, host = ("rediss", "localhost") if self._tls else ("redis", ports.LOOPBACK)
        return f"{scheme}://{host}:{self._port}"

    @property
    def store(self) -> "RedisServer":
        """Its key-value store lies on itself."""
        return self

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running().pid

    @property
    def log(self) -> Path:
        """Where the server writes its log, over all its starts."""
        return self.folder / "server.log"

    def start(self) -> None:
        """Start it and wait until it answers; ends the test when there is no server to start."""
        if self._process is not None:
            raise RuntimeError("the server runs already")
        program = locate()
        if program is None:
            missing("redis", "redis-server is not on PATH; tests/install/redis.sh installs it")
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "server.conf"
        config.write_text("\n".join([*self._settings(), *self._more, ""]), encoding="utf-8")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_it_answers()

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order, however it is now; nothing happens when it does not run."""
        if self._process is None:
            return
        self.thaw()
        try:
            self._end(signal.SIGTERM)
        except subprocess.TimeoutExpired:
            self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Make it hang: connections stay open, nothing is answered (SIGSTOP)."""
        freeze(self._running().pid)

    def thaw(self) -> None:
        """Let a frozen server go on (SIGCONT)."""
        os.kill(self._running().pid, signal.SIGCONT)

    def restart(self) -> None:
        """Start it again with the same port and files, ending it first in good order if it runs."""
        self.stop()
        self.start()

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

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process

    def _end(self, number: int) -> None:
        process = self._running()
        process.send_signal(number)
        process.wait(_STOP_SECONDS)
        self._process = None

    def _wait_until_it_answers(self) -> None:
        process = self._running()
        deadline = time.monotonic() + _READY_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if self._answers():
                return
            time.sleep(_POLL_SECONDS)
        ended = process.poll() is not None
        what = "ended at once" if ended else f"did not answer within {_READY_SECONDS:g} s"
        self._end(signal.SIGKILL)
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
        pytest.fail(f"redis-server {what}:\n{tail}")

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
