"""A real Kafka for tests: one broker that is its own controller, and a bus database beside it."""

import base64
import os
import secrets
import shutil
import socket
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from typing_extensions import override

from deploy import ports
from tests.server_process import ServerProcess
from tests.servers import PostgresServer, missing

VERSION = "4.3.1"
"""What `tests/install/kafka.sh` fetches."""

USER, PASSWORD = "muster", "s3cret"
"""Who may use the listener with a login."""


_JAVA = ("-Xms64m", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


class KafkaServer(ServerProcess):
    """One Kafka broker whose log lies under `folder`; `database` is the URL of an empty database on
    the PostgreSQL `store`, which none of the methods touches.

    The ports stay the same over `kill` and `restart`. A client that is told one address of the
    only broker goes on using it, so a proxy before `url` needs nothing of it. `more`: lines of
    `server.properties`. `secure`: folder with `key.pem` and `chain.pem` for the listener with TLS.
    """

    program = "Kafka"
    ready = 60.0
    end = 20.0
    poll = 0.05
    lease = 1.5
    starting = 10.0
    fallback: str | None = None

    def __init__(
        self,
        folder: Path,
        store: PostgresServer,
        database: str,
        *,
        more: str = "",
        secure: Path | None = None,
    ) -> None:
        super().__init__(folder)
        self.store = store
        self.database: str | None = database
        self._more = more
        self._secure = secure
        self._port, self._login_port, self._tls_port, self._controller = (
            ports.free() for _ in range(4)
        )

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"kafka://{ports.LOOPBACK}:{self._port}"

    @property
    def login_url(self) -> str:
        """Where clients connect that have a name and a password."""
        return f"kafka://{USER}:{PASSWORD}@{ports.LOOPBACK}:{self._login_port}"

    @property
    def tls_url(self) -> str:
        """Where clients connect by TLS, with a name and a password."""
        return f"kafkas://{USER}:{PASSWORD}@localhost:{self._tls_port}"

    @override
    def _prepared(self) -> Sequence[str | Path]:
        jars = _jars()
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "server.properties"
        config.write_text(self._configuration(), encoding="utf-8")
        (self.folder / "log4j2.properties").write_text(_LOGGING, encoding="utf-8")
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(jars, config)
        return self._java(jars, "kafka.Kafka", str(config))

    @override
    def _answers(self) -> bool:
        return _answers(self._port)

    def _java(self, jars: Path, *program: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile=file:{self.folder / 'log4j2.properties'}"
        flags = (*_JAVA, "-Djava.awt.headless=true", "-Dlog4j2.disable.jmx=true", logging)
        return ["java", *flags, "-cp", f"{jars}/*", *program]

    def _format(self, jars: Path, config: Path) -> None:
        cluster = "A" + base64.urlsafe_b64encode(secrets.token_bytes(16)).decode()[1:22]
        program = ("kafka.tools.StorageTool", "format", "--cluster-id", cluster)
        done = subprocess.run(
            self._java(jars, *program, "--config", str(config)),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.fail(f"a Kafka log cannot be made: {done.stdout}{done.stderr}")

    def _configuration(self) -> str:
        here = ports.LOOPBACK
        listeners = f"PLAIN://{here}:{self._port},LOGIN://{here}:{self._login_port}"
        advertised, protocols, tls = listeners, "PLAIN:PLAINTEXT,LOGIN:SASL_PLAINTEXT", ""
        if self._secure is not None:
            listeners += f",TLS://{here}:{self._tls_port}"
            advertised += f",TLS://localhost:{self._tls_port}"
            protocols += ",TLS:SASL_SSL"
            key, chain = (_one_line(self._secure / f"{name}.pem") for name in ("key", "chain"))
            tls = (
                "listener.name.tls.ssl.keystore.type=PEM\n"
                f"listener.name.tls.ssl.keystore.key={key}\n"
                f"listener.name.tls.ssl.keystore.certificate.chain={chain}\n"
                f"listener.name.tls.plain.sasl.jaas.config={_JAAS}\n"
            )
        return _PROPERTIES.format(
            listeners=f"{listeners},CONTROLLER://{here}:{self._controller}",
            advertised=advertised,
            protocols=f"{protocols},CONTROLLER:PLAINTEXT",
            voter=f"1@{here}:{self._controller}",
            data=self.folder / "data",
            jaas=_JAAS,
        ) + (tls + self._more)


def _jars() -> Path:
    """The folder with the jars of a Kafka: of one that is on the path, else the fetched one."""
    found = shutil.which("kafka-server-start.sh") or shutil.which("kafka-server-start")
    if shutil.which("java") is None:
        missing("kafka", "java is not installed")
    if found is not None:
        libs = Path(found).resolve().parent.parent / "libs"
        if libs.is_dir():
            return libs
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    fetched = Path(cache) / "muster" / f"kafka-{VERSION}"
    if not (fetched / ".complete").exists():
        missing("kafka", "none is on the path; tests/install/kafka.sh fetches one")
    return fetched


def _answers(port: int) -> bool:
    """Whether a broker there is let in by its controller: Metadata 1 of no topic names both."""
    ask = struct.pack(">hhih5si", 3, 1, 1, 5, b"probe", 0)
    try:
        with socket.create_connection((ports.LOOPBACK, port), 1) as link:
            link.settimeout(2)
            link.sendall(struct.pack(">i", len(ask)) + ask)
            with link.makefile("rb") as file:
                (size,) = struct.unpack(">i", file.read(4))
                answer = file.read(size)
    except (OSError, struct.error):
        return False
    (brokers,) = struct.unpack(">i", answer[4:8])
    (controller,) = struct.unpack(">i", answer[-8:-4])
    return bool(brokers >= 1 and controller >= 0)


def _one_line(file: Path) -> str:
    """A PEM file as a value of a properties file."""
    return file.read_text(encoding="utf-8").strip().replace("\n", "\\n")


_JAAS = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    f'username="{USER}" password="{PASSWORD}" user_{USER}="{PASSWORD}";'
)

_LOGGING = """\
status = error
appender.c.type = Console
appender.c.name = C
appender.c.layout.type = PatternLayout
appender.c.layout.pattern = [%d] %p %m (%c)%n
rootLogger.level = WARN
rootLogger.appenderRef.c.ref = C
"""

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners={listeners}
advertised.listeners={advertised}
controller.listener.names=CONTROLLER
listener.security.protocol.map={protocols}
inter.broker.listener.name=PLAIN
sasl.enabled.mechanisms=PLAIN
listener.name.login.plain.sasl.jaas.config={jaas}
controller.quorum.voters={voter}
log.dirs={data}
default.replication.factor=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
num.partitions=2
auto.create.topics.enable=false
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=4194304
log.index.size.max.bytes=1048576
"""
