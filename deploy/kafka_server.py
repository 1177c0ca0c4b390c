"""Kafka as one process that is its own controller: its jars, its configuration, what it says."""

import base64
import os
import re
import secrets
import shutil
import socket
import struct
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from deploy import ports
from deploy.errors import ServerFailed, ServerMissing
from deploy.folders import write
from deploy.kafka_properties import LOGGING, Listener, properties
from deploy.program import Launch, Place
from deploy.program import Program as Embeddable

NAME = "Kafka"
FETCHED = "4.3.1"
"""The release that `make servers BROKERS=kafka` fetches."""
INSTALL = "fetch it by Maven: `make servers BROKERS=kafka`"
VARIABLE = "KAFKA_HOME"

_CLASSES = "muster.jsa"
"""What `make servers` keeps beside the jars, so that a start need not load them one by one; a Java
that did not write it goes without."""

_JAVA = ("-Xms64m", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_STARTERS = ("kafka-server-start.sh", "kafka-server-start")
_CLIENTS = "PLAIN"
_JAR = re.compile(r"kafka_[\d.]+-(\d+(?:\.\d+)+)\.jar")
_PORT = re.compile(rf"^listeners={_CLIENTS}://[\d.]+:(\d+)", re.MULTILINE)
_CLUSTER = re.compile(r"^cluster\.id=(\S+)$", re.MULTILINE)
_TOO_OLD = "UnsupportedClassVersionError"
_METADATA, _OF_NO_TOPIC = (3, 2), 0


@dataclass(frozen=True, slots=True)
class Program:
    """A Java, the folder with the jars of a Kafka, and its version, such as `4.3.1`."""

    java: Path
    jars: Path
    version: str

    def command(self, folder: Path, *words: str) -> list[str]:
        """What runs a class of it, whose log is as `folder` says."""
        logging = f"-Dlog4j2.configurationFile=file:{folder / 'log4j2.properties'}"
        flags = (*_JAVA, "-Djava.awt.headless=true", "-Dlog4j2.disable.jmx=true", logging)
        kept = self.jars / _CLASSES
        shared = [f"-XX:SharedArchiveFile={kept}"] if kept.exists() else []
        return [str(self.java), *flags, *shared, "-cp", f"{self.jars}/*", *words]


def fetched() -> Path:
    """Where the fetched jars are: `muster/kafka-VERSION` in the user's folder for caches."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "muster" / f"kafka-{FETCHED}"


def locate() -> Program:
    """That of `KAFKA_HOME`, else the one on PATH, else the fetched one. Raises `ServerMissing`."""
    java = shutil.which("java")
    if java is None:
        reason = f"{NAME} runs on Java, and PATH has no java"
        raise ServerMissing(NAME, reason, install=f"install Java 17 or newer and {INSTALL}")
    for jars in _folders():
        found = next((m for file in jars.glob("kafka_*.jar") if (m := _JAR.match(file.name))), None)
        if found:
            return Program(Path(java), jars, found[1])
    reason = f"neither {VARIABLE} nor PATH has one, and {fetched()} is not there"
    raise ServerMissing(NAME, reason, install=INSTALL)


def _folders() -> Sequence[Path]:
    home = os.environ.get(VARIABLE)
    started = next((found for name in _STARTERS if (found := shutil.which(name))), None)
    homes = [Path(home)] if home else []
    homes += [Path(started).resolve().parent.parent] if started else []
    return [*(folder / "libs" for folder in homes), fetched()]


def lay(
    program: Program,
    folder: Path,
    text: str,
    *,
    logins: Sequence[str] = (),
    logging: str = LOGGING,
) -> list[str]:
    """Put configuration and log into `folder`, which is there; what starts the server. `logins`:
    users it knows by SCRAM from its first start on, as `kafka-storage --add-scram` has them.
    `logging`: what it tells of itself, as Log4j reads it. Raises `ServerMissing` for a Java that is
    too old, `ServerFailed` where a log cannot be made."""
    config = folder / "server.conf"
    write(config, text)
    write(folder / "log4j2.properties", logging)
    if not (folder / "data" / "meta.properties").exists():
        cluster = "A" + base64.urlsafe_b64encode(secrets.token_bytes(16)).decode()[1:22]
        words = ("kafka.tools.StorageTool", "format", "--cluster-id", cluster)
        users = [word for login in logins for word in ("--add-scram", login)]
        command = program.command(folder, *words, "--config", str(config), *users)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if _TOO_OLD in done.stderr:
            reason = f"{program.java} is too old for {NAME} {program.version}"
            raise ServerMissing(NAME, reason, install="install Java 17 or newer")
        if done.returncode:
            tail = f"{done.stdout}{done.stderr}".splitlines()[-10:]
            raise ServerFailed(NAME, "its data folder cannot be made", folder / "server.log", tail)
    return program.command(folder, "kafka.Kafka", str(config))


def answers(port: int, *, cluster: str = "", timeout: float = 2.0) -> bool:
    """Whether a broker there, of this cluster if one is named, is let in by its controller.

    Asks for the Metadata (key 3, version 2) of no topic, which name brokers, cluster and
    controller. Source: the Kafka protocol guide.
    """
    ask = struct.pack(">hhih5si", *_METADATA, 1, 5, b"probe", _OF_NO_TOPIC)
    try:
        with socket.create_connection((ports.LOOPBACK, port), timeout=timeout) as link:
            link.settimeout(timeout)
            link.sendall(struct.pack(">i", len(ask)) + ask)
            with link.makefile("rb") as file:
                (size,) = struct.unpack(">i", file.read(4))
                answer = file.read(size)
        (brokers,) = struct.unpack(">i", answer[4:8])
        (controller,) = struct.unpack(">i", answer[-8:-4])
    except (OSError, struct.error):
        return False
    return bool(brokers >= 1 and controller >= 0 and cluster.encode() in answer)


class Kafka(Embeddable):
    """It as the embedded server of a folder."""

    name = NAME
    folder = "kafka"
    title = NAME
    scheme = "kafka"
    process = ("java",)
    patience = 60.0

    @override
    def locate(self) -> Program:
        return locate()

    @override
    def release(self) -> str:
        return locate().version

    @override
    def prepare(self, place: Place, port: int) -> Launch:
        listeners: Mapping[str, Listener] = {_CLIENTS: Listener(port)}
        text = properties(place.folder / "data", listeners, controller=ports.free())
        return Launch(lay(locate(), place.folder, text))

    @override
    def configured_port(self, place: Place) -> int | None:
        found = _found(_PORT, place.config)
        return int(found) if found else None

    @override
    def version(self, place: Place, pid: int, *, timeout: float) -> str | None:
        port = self.configured_port(place)
        cluster = _found(_CLUSTER, place.folder / "data" / "meta.properties")
        if port is None or cluster is None or not answers(port, cluster=cluster, timeout=timeout):
            return None
        return locate().version


def _found(pattern: re.Pattern[str], file: Path) -> str | None:
    try:
        match = pattern.search(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return match[1] if match else None
