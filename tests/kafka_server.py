"""A real Kafka for tests: one broker that is its own controller, and a bus database beside it."""

import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from typing_extensions import override

from deploy import kafka_server, ports
from deploy.errors import ServerFailed, ServerMissing
from deploy.kafka_properties import LOGGING, Listener, properties
from tests import kafka_logs
from tests.server_process import ServerProcess
from tests.servers import PostgresServer, missing

USER, PASSWORD = "muster", "s3cret"
"""Who may use the listener with a login."""

SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
"""How they may prove it there, beside `PLAIN`."""

_GROUPS = "group.initial.rebalance.delay.ms=0\n"
"""The first consumer of a group need not wait three seconds for others."""

_SCRAM = tuple(f"{each}=[name={USER},password={PASSWORD}]" for each in SCRAM)

_KIND = re.compile(r'"requestApiKeyName":"(\w+)"')

_COUNTING = """\
appender.r.type = File
appender.r.name = R
appender.r.fileName = {file}
appender.r.layout.type = PatternLayout
appender.r.layout.pattern = %m%n
logger.r.name = kafka.request.logger
logger.r.level = DEBUG
logger.r.additivity = false
logger.r.appenderRef.r.ref = R
"""
"""Every request is a line of JSON, once it was answered."""


class KafkaServer(ServerProcess):
    """One Kafka broker whose log lies under `folder`; `database` is the URL of an empty database on
    the PostgreSQL `store`, which none of the methods touches.

    The ports stay the same over `kill` and `restart`. A client that is told one address of the
    only broker goes on using it, so a proxy before `url` needs nothing of it. `more`: lines of
    `server.properties`. `secure`: folder with `key.pem` and `chain.pem` for the listener with TLS.
    `counting`: it writes down every request, for `asked`.
    """

    program = kafka_server.NAME
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
        counting: bool = False,
    ) -> None:
        super().__init__(folder)
        self.store = store
        self.database: str | None = database
        self._more = more
        self._secure = secure
        self._requests = folder / "requests.log" if counting else None
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

    def scram(self, user: str, password: str) -> None:
        """Whoever logs in as this user by SCRAM-SHA-256 needs this password from now on: what
        `kafka-configs.sh` does, by hand as an operator would."""
        where = ("--bootstrap-server", f"{ports.LOOPBACK}:{self._port}")
        secret = f"SCRAM-SHA-256=[password={password}]"
        who = ("--entity-type", "users", "--entity-name", user)
        words = ("kafka.admin.ConfigCommand", *where, "--alter", "--add-config", secret, *who)
        command = kafka_server.locate().command(self.folder, *words)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)

    def asked(self) -> Counter[str]:
        """How many requests of each kind the broker has answered clients without a login, over all
        its starts; by its own log of requests, which it writes where it is `counting`."""
        assert self._requests is not None, "this one does not count"
        lines = self._requests.read_text(encoding="utf-8").splitlines()
        mine = [line for line in lines if '"listener":"PLAIN"' in line]
        return Counter(kind[1] for line in mine if (kind := _KIND.search(line)))

    @override
    def _prepared(self) -> Sequence[str | Path]:
        self.folder.mkdir(parents=True, exist_ok=True)
        logging = LOGGING
        if self._requests is not None:
            logging += _COUNTING.format(file=self._requests)
        try:
            program, text = kafka_server.locate(), self._configuration()
            kafka_logs.lay(self.folder, _SCRAM)
            return kafka_server.lay(program, self.folder, text, logging=logging)
        except ServerMissing as error:
            missing("kafka", str(error))
        except ServerFailed as error:
            pytest.fail(str(error))

    @override
    def _answers(self) -> bool:
        return kafka_server.answers(self._port)

    def _configuration(self) -> str:
        more = _GROUPS + f"sasl.enabled.mechanisms=PLAIN,{','.join(SCRAM)}\n{_logins('login')}"
        listeners = {
            "PLAIN": Listener(self._port),
            "LOGIN": Listener(self._login_port, "SASL_PLAINTEXT"),
        }
        if self._secure is not None:
            listeners["TLS"] = Listener(self._tls_port, "SASL_SSL", "localhost")
            key, chain = (_one_line(self._secure / f"{name}.pem") for name in ("key", "chain"))
            more += (
                "listener.name.tls.ssl.keystore.type=PEM\n"
                f"listener.name.tls.ssl.keystore.key={key}\n"
                f"listener.name.tls.ssl.keystore.certificate.chain={chain}\n"
                f"{_logins('tls')}"
            )
        data = self.folder / "data"
        return properties(data, listeners, controller=self._controller, more=more + self._more)


def _one_line(file: Path) -> str:
    """A PEM file as a value of a properties file."""
    return file.read_text(encoding="utf-8").strip().replace("\n", "\\n")


def _logins(listener: str) -> str:
    """Lines that let the listener take every kind of login."""
    prefix, classes = f"listener.name.{listener}", "org.apache.kafka.common.security"
    plain = f'username="{USER}" password="{PASSWORD}" user_{USER}="{PASSWORD}"'
    modules = {"plain": f"{classes}.plain.PlainLoginModule required {plain};"}
    for each in SCRAM:
        modules[each.lower()] = f"{classes}.scram.ScramLoginModule required;"
    return "".join(f"{prefix}.{kind}.sasl.jaas.config={it}\n" for kind, it in modules.items())
