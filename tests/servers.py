"""Real servers for tests: free loopback ports, temporary folders, ended by their own process id.

A server that cannot be had is a skip with its reason on a desk, and a failure where the
environment variable `MUSTER_REQUIRE` names it (comma-separated names, or `all`).
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import psutil
import pytest
from typing_extensions import override

from deploy import nats_server, ports, postgres, postgres_server
from deploy.errors import ServerMissing
from deploy.processes import ended
from tests.clusters import lay
from tests.freezing import freeze
from tests.server_process import ServerProcess

_STOP_SECONDS = 10.0


def missing(name: str, reason: str) -> NoReturn:
    """End the test that needs the server `name`: a failure where it is required, else a skip."""
    if _required(name):
        pytest.fail(f"{name} is required by MUSTER_REQUIRE and missing: {reason}", pytrace=False)
    pytest.skip(f"no {name}: {reason}")


def _required(name: str) -> bool:
    named = {part.strip() for part in os.environ.get("MUSTER_REQUIRE", "").split(",")}
    return name in named or "all" in named


class NatsServer(ServerProcess):
    """One NATS JetStream server with `sync_interval: always`, its store under `folder`.

    The port stays the same over `kill` and `restart`, so that clients can find it again. `more` is
    added to its configuration.
    """

    program = nats_server.NAME
    database: str | None = None
    lease = 1.5
    fallback: str | None = None

    def __init__(self, folder: Path, *, more: str = "") -> None:
        super().__init__(folder)
        self._more = more
        self._port = ports.free()
        self._monitor = ports.free()

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://{ports.LOOPBACK}:{self._port}"

    @property
    def store(self) -> "NatsServer":
        """Its key-value store lies on itself."""
        return self

    @property
    def monitor_url(self) -> str:
        """Where the server answers `/varz`, `/jsz`, `/connz`, …"""
        return f"http://{ports.LOOPBACK}:{self._monitor}"

    @override
    def _prepared(self) -> Sequence[str | Path]:
        try:
            program = nats_server.locate()
        except ServerMissing as error:
            missing("nats", str(error))
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "server.conf"
        text = nats_server.configuration(
            self.folder, port=self._port, name="muster-test", monitor=self._monitor
        )
        config.write_text(text + self._more, encoding="utf-8")
        return [program.path, "-c", config]

    @override
    def _answers(self) -> bool:
        return nats_server.greeting(self._port) is not None


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder for a PostgreSQL, which the administrator runs under an account of its own. Those
    that pytest makes are closed to other accounts, and closed again whenever a run begins."""
    folder = Path(tempfile.mkdtemp(prefix="muster-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class PostgresServer:
    """One embedded PostgreSQL whose state lies in `state`, which `open_folder` gives.

    The address stays the same over `kill` and `restart`.
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        self._server: postgres.Embedded | None = None

    @property
    def url(self) -> str:
        """Where clients connect to its first database."""
        return self._running().url

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running().pid

    @property
    def log(self) -> Path:
        """Where the server writes its log, over all its starts."""
        return self._running().log

    def start(self) -> None:
        """Start it and wait until it answers; ends the test when there is no server to start."""
        try:
            lay(self.state)
            self._server = postgres.start(self.state)
        except ServerMissing as error:
            missing("postgres", str(error))

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        victim = psutil.Process(self.pid)
        family = [victim, *victim.children(recursive=True)]
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        alive = [each for each in family if not ended(each, _STOP_SECONDS)]
        if alive:
            raise TimeoutError(f"{len(alive)} processes of the killed server live on")

    def stop(self) -> None:
        """End it in good order, however it is now; nothing happens when it does not run."""
        if self._server is not None:
            self.thaw()
            postgres.stop(self.state, timeout=_STOP_SECONDS)

    def discard(self) -> None:
        """End it for good, however it is now: it writes nothing any more, and leaves no memory that
        it shared (SIGQUIT). Nothing happens when it does not run."""
        if self._server is not None:
            with suppress(psutil.NoSuchProcess):
                self.thaw()
                psutil.Process(self.pid).send_signal(signal.SIGQUIT)
            postgres.stop(self.state, timeout=_STOP_SECONDS)

    def freeze(self) -> None:
        """Make it hang: connections stay open, nothing is answered (SIGSTOP)."""
        server = psutil.Process(self.pid)
        freeze(server.pid)
        for child in server.children(recursive=True):
            with suppress(ProcessLookupError, FileNotFoundError):
                freeze(child.pid)

    def thaw(self) -> None:
        """Let a frozen server go on (SIGCONT)."""
        if psutil.pid_exists(self.pid):
            server = psutil.Process(self.pid)
            for process in (*server.children(recursive=True), server):
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Start it again with the same data, ending it first in good order if it runs."""
        self.stop()
        self.start()

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        """The address of a new, empty database, which is gone after the block."""
        name = f"test_{secrets.token_hex(6)}"
        self.run(f"CREATE DATABASE {name}")
        try:
            yield self.url.replace(f"/{postgres_server.DATABASE}?", f"/{name}?")
        finally:
            self.run(f"DROP DATABASE {name} WITH (FORCE)")

    def run(self, statement: str, *, database: str = postgres_server.DATABASE) -> str:
        """Run a statement in the first database, by hand as an operator would; or in another."""
        program = postgres_server.locate().folder / "psql"
        url = self.url.replace(f"/{postgres_server.DATABASE}?", f"/{database}?")
        done = subprocess.run(
            [program, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement, url],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()

    def _running(self) -> postgres.Embedded:
        if self._server is None:
            raise RuntimeError("the server does not run")
        return self._server
