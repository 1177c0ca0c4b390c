"""A real RabbitMQ for tests, with a PostgreSQL beside it for the bus database."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from deploy import ports
from tests.brokers import Server
from tests.freezing import freeze
from tests.servers import missing

_READY_SECONDS = 60.0
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.05
_TRIES = 3
_PLACES = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "/usr/sbin/rabbitmq-server")
_GREETING = b"AMQP\x00\x00\x09\x01"
_TICKS = "[{rabbit, [{channel_tick_interval, 1000}]}].\n"
"""How often `consumer_timeout` is looked at, in milliseconds: a minute unless told."""

USER, PASSWORD = "guest", "guest"


def program() -> str:
    """The script that starts a server; ends the test when there is none."""
    found = next((each for each in _PLACES if Path(each).exists()), None)
    found = found or shutil.which("rabbitmq-server")
    if found is None:
        missing("rabbitmq", "rabbitmq-server is not installed: tests/install/rabbitmq.sh")
    return found


class RabbitServer:
    """One RabbitMQ whose files lie under `folder`, of its own node name, ports and cookie.

    `database`: the address of the bus database; `store` what its store lies on, which tests of
    the store stop. The ports stay the same over `kill` and `restart`. `consumer_timeout` in
    seconds; `more` is added to its configuration; `management`: it tells of itself, too.
    """

    lease = 2.5
    fallback: str | None = None
    """Half a second more than the least: heartbeats of a second notice what hangs in 1 to 3 s."""

    starting = 10.0

    def __init__(
        self,
        folder: Path,
        store: Server,
        database: str,
        *,
        consumer_timeout: float = 1800.0,
        more: str = "",
        management: bool = False,
    ) -> None:
        self.folder = folder
        self.store = store
        self.database: str | None = database
        self._timeout = consumer_timeout
        self._more = more
        self._epmd = ports.free()
        self._choose_ports(management=management)
        self._was_up = False
        self._process: psutil.Process | None = None
        self._script: subprocess.Popen[bytes] | None = None

    def _choose_ports(self, *, management: bool) -> None:
        self._port, self._dist = ports.free(), ports.free()
        self.management = ports.free() if management else 0

    @property
    def url(self) -> str:
        """Where clients connect."""
        return self.address(PASSWORD)

    def address(self, password: str, *, scheme: str = "amqp", port: int | None = None) -> str:
        """The same with another password."""
        return f"{scheme}://{USER}:{password}@{ports.LOOPBACK}:{port or self._port}/"

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    def start(self) -> None:
        """Start it and wait until it answers; ends the test when there is no server to start. One
        that was never up takes other ports if somebody was quicker: it needs seconds to listen."""
        if self._process is not None:
            raise RuntimeError("the server runs already")
        up = False
        for _ in range(_TRIES):
            self._launch(program())
            up = self._answered()
            if up or self._was_up or "eaddrinuse" not in self._said():
                break
            self._choose_ports(management=bool(self.management))
        if not up:
            pytest.fail(f"rabbitmq-server did not answer:\n{self._said()}")
        self._was_up = True

    def _launch(self, script: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "rabbitmq.conf").write_text(self._configuration(), encoding="utf-8")
        (self.folder / "advanced.config").write_text(_TICKS, encoding="utf-8")
        plugins = "rabbitmq_management" if self.management else ""
        (self.folder / "plugins").write_text(f"[{plugins}].\n", encoding="utf-8")
        (self.folder / "pid").unlink(missing_ok=True)
        with (self.folder / "out").open("ab") as out:
            self._script = subprocess.Popen(
                [script],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self._environment(),
                start_new_session=True,
            )

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        victim = self._running()
        victim.kill()
        self._gone(victim)

    def stop(self) -> None:
        """End it in good order, however it is now; nothing happens when it does not run."""
        if self._process is None:
            return
        server = self._running()
        self.thaw()
        server.send_signal(signal.SIGTERM)
        try:
            self._gone(server)
        except psutil.TimeoutExpired:
            self.kill()

    def freeze(self) -> None:
        """Make it hang: connections stay open, nothing is answered (SIGSTOP)."""
        freeze(self._running().pid)

    def thaw(self) -> None:
        """Let a frozen server go on (SIGCONT)."""
        with suppress(psutil.NoSuchProcess):
            self._running().send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Start it again with the same ports and files, ending it first if it runs."""
        self.stop()
        self.start()

    def end(self) -> None:
        """Stop it, and the small daemon that Erlang left behind."""
        self.stop()
        for process in psutil.process_iter(["name"]):
            if process.info["name"] == "epmd":
                with suppress(psutil.Error):
                    if process.environ().get("ERL_EPMD_PORT") == str(self._epmd):
                        process.kill()

    def control(self, *words: str) -> str:
        """What `rabbitmqctl` says, by hand as an operator would."""
        tool = Path(program()).with_name("rabbitmqctl")
        done = subprocess.run(
            [tool, "-n", self._node, *words],
            capture_output=True,
            text=True,
            check=False,
            env=self._environment(),
        )
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        return done.stdout

    @property
    def _node(self) -> str:
        return f"muster{self._port}@localhost"

    def _configuration(self) -> str:
        return (
            f"listeners.tcp.1 = {ports.LOOPBACK}:{self._port}\n"
            f"consumer_timeout = {int(self._timeout * 1000)}\n"
            "vm_memory_high_watermark.absolute = 512MB\n"
            "disk_free_limit.absolute = 50MB\n"
            f"{f'management.tcp.port = {self.management}' if self.management else ''}\n"
            f"{self._more}"
        )

    def _environment(self) -> Mapping[str, str]:
        folder = self.folder
        return {
            "PATH": os.environ.get("PATH", ""),
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_DIST_PORT": str(self._dist),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none",
            "ERL_EPMD_ADDRESS": ports.LOOPBACK,
            "ERL_EPMD_PORT": str(self._epmd),
        }

    def _running(self) -> psutil.Process:
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process

    def _gone(self, server: psutil.Process) -> None:
        server.wait(_STOP_SECONDS)
        if self._script is not None:
            self._script.wait(_STOP_SECONDS)
        self._process = self._script = None

    def _said(self) -> str:
        lines = (self.folder / "out").read_text(errors="replace").splitlines()
        return "\n".join(lines[-20:])

    def _answered(self) -> bool:
        """Whether it did, in time; else it is gone."""
        deadline = time.monotonic() + _READY_SECONDS
        script = self._script
        assert script is not None
        while script.poll() is None and time.monotonic() < deadline:
            if self._answers():
                self._process = psutil.Process(int((self.folder / "pid").read_text()))
                return True
            time.sleep(_POLL_SECONDS)
        script.kill()
        return False

    def _answers(self) -> bool:
        """Whether it greets, and has said who it is."""
        pid = self.folder / "pid"
        if not pid.exists() or not pid.read_text().strip():
            return False
        try:
            with socket.create_connection((ports.LOOPBACK, self._port), 1.0) as client:
                client.sendall(_GREETING)
                return bool(client.recv(1))
        except OSError:
            return False


@contextmanager
def running(server: RabbitServer) -> Iterator[RabbitServer]:
    """It runs until the block ends."""
    try:
        server.start()
        yield server
    finally:
        server.end()
