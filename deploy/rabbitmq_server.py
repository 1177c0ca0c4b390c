"""The program `rabbitmq-server`: where it is, how it is configured, what it says about itself."""

import os
import re
import shutil
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError
from typing_extensions import override

from deploy import ports
from deploy.errors import ServerMissing
from deploy.folders import write
from deploy.program import Launch, Place, Program

NAME = "rabbitmq-server"
INSTALL = "install it: `make servers BROKERS=rabbitmq`"
USER, PASSWORD = "guest", "guest"
"""Who may connect to a server that nobody has set up, and only from its own machine."""

_PLACE = "/usr/lib/rabbitmq/bin"
"""Where packages put it. What they put on PATH beside it runs as an account of its own only."""
_LOG = """\
log.file.level = warning
log.connection.level = error
log.file.rotation.size = 10485760
log.file.rotation.count = 3
"""
"""Who only looks whether it answers, as its keeper does every second, is a warning to it."""
_RELEASE = re.compile(r"rabbitmq_server-([^/]+)/")
_HEADER = b"AMQP\x00\x00\x09\x01"
_VERSION = re.compile(rb"\x07versionS(....)", re.DOTALL)


class Node(BaseModel):
    """What tells a server from others on this machine: its name, and the ports where it listens,
    where its daemon `epmd` does, and where other nodes and `rabbitmqctl` reach it."""

    model_config = ConfigDict(frozen=True)

    name: str
    port: int
    epmd: int
    distribution: int


def locate() -> Path:
    """The script that starts a server. Raises `ServerMissing`."""
    found = shutil.which(NAME, path=os.pathsep.join((_PLACE, os.environ.get("PATH", ""))))
    if found is None:
        raise ServerMissing(NAME, f"neither {_PLACE} nor PATH has {NAME}", install=INSTALL)
    return Path(found)


def configure(folder: Path, node: Node, *, more: str = "", plugins: str = "") -> None:
    """Write the files that it reads: it keeps what queues of muster promise by itself, and clients
    of this machine alone can connect. `more`: lines; `plugins`: names with commas between."""
    lines = f"listeners.tcp.1 = {ports.LOOPBACK}:{node.port}\n{_LOG}"
    write(folder / "rabbitmq.conf", lines + more)
    write(folder / "plugins", f"[{plugins}].\n")


def environment(folder: Path, node: Node) -> Mapping[str, str]:
    """Everything lies under `folder`, its cookie too; nothing of ours gets in its way."""
    loopback = ports.LOOPBACK.replace(".", ",")
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "RABBITMQ_NODENAME": node.name,
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_DIST_PORT": str(node.distribution),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            f"+S 2:2 +sbwt none -kernel inet_dist_use_interface {{{loopback}}}"
        ),
        "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the server instead of its parent
        "ERL_EPMD_ADDRESS": ports.LOOPBACK,
        "ERL_EPMD_PORT": str(node.epmd),
    }


def greeting(port: int, *, timeout: float = 1.0) -> bytes:
    """What the server says first to a client; nothing where none answers. It listens only once it
    has recovered its queues. Source: AMQP 0-9-1, 4.2.2 (protocol header) and `connection.start`."""
    try:
        with socket.create_connection((ports.LOOPBACK, port), timeout=timeout) as connection:
            connection.settimeout(timeout)
            connection.sendall(_HEADER)
            return connection.recv(4096)
    except OSError:
        return b""


def end_daemons(folder: Path) -> None:
    """End the `epmd` that servers of `folder` have left behind."""
    for process in psutil.process_iter(["name"]):
        if process.info["name"] == "epmd":
            with suppress(psutil.Error):
                if process.environ().get("HOME") == str(folder):
                    process.kill()


class RabbitMQ(Program):
    """It as the embedded server of a folder."""

    name = NAME
    folder = "rabbitmq"
    title = "RabbitMQ"
    scheme = "amqp"
    process = (NAME, "erl", "erlexec", "beam.smp")
    patience = 60.0

    @override
    def locate(self) -> Path:
        return locate()

    @override
    def release(self) -> str:
        found = _RELEASE.search(str(locate().resolve()))
        return found[1] if found else "of a release that its path does not tell"

    @override
    def prepare(self, place: Place, port: int) -> Launch:
        """The data belong to the name of the node, which therefore stays."""
        self.clear_up(place)
        kept = _kept(place)
        name = kept.name if kept else f"muster{port}@localhost"
        node = Node(name=name, port=port, epmd=ports.free(), distribution=ports.free())
        write(place.config, node.model_dump_json())
        configure(place.folder, node)
        return Launch([locate()], environment(place.folder, node))

    @override
    def configured_port(self, place: Place) -> int | None:
        kept = _kept(place)
        return kept.port if kept else None

    @override
    def version(self, place: Place, pid: int, *, timeout: float) -> str | None:
        kept = _kept(place)
        said = greeting(kept.port, timeout=timeout) if kept else b""
        found = _VERSION.search(said)
        if kept is None or found is None or f"{kept.name.partition('@')[0]}@".encode() not in said:
            return None
        size = int.from_bytes(found[1])
        return said[found.end() : found.end() + size].decode()

    @override
    def url(self, port: int) -> str:
        return f"{self.scheme}://{USER}:{PASSWORD}@{ports.LOOPBACK}:{port}/"

    @override
    def clear_up(self, place: Place) -> None:
        end_daemons(place.folder)


def _kept(place: Place) -> Node | None:
    """How it was started last."""
    try:
        return Node.model_validate_json(place.config.read_bytes())
    except (OSError, ValidationError):
        return None
