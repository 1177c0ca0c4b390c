"""Real servers that want a password, which may be changed while somebody is connected."""

import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import pytest

from tests.kafka_server import KafkaServer
from tests.rabbitmq_server import RabbitServer
from tests.redis_server import RedisServer
from tests.servers import NatsServer, PostgresServer

USER, RIGHT, WRONG = "ada", "r1ght-s3cret", "wr0ng-s3cret"

_KEEPER = "keeper-s3cret"
"""The password of who may change those of others."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """A server that lets in `USER` with the password `RIGHT` until `change` gives another; who is
    connected may stay so. `server`: its address, without any."""

    server: str
    change: Callable[[str], None]
    query: str = ""
    database: str | None = None

    def url(self, password: str = RIGHT, server: str | None = None) -> str:
        """Where clients connect with a password; `server`: by a proxy before it."""
        parts = urlsplit(server or self.server)
        host = parts.netloc.rpartition("@")[2]
        made = parts._replace(netloc=f"{USER}:{password}@{host}").geturl()
        return f"{made}{self.query}"


def guarded(request: pytest.FixtureRequest, name: str, folder: Path) -> Guarded:
    """One of each broker, its files under `folder` where it is the test's own."""
    return _GUARDED[name](request, folder)


def _nats(request: pytest.FixtureRequest, folder: Path) -> Guarded:
    server = _Nats(folder / "guarded", RIGHT)
    request.addfinalizer(server.stop)
    server.start()
    return Guarded(server.url, server.change)


class _Nats(NatsServer):
    """Whose configuration is read anew: those who know another password are cut off."""

    def __init__(self, folder: Path, password: str) -> None:
        super().__init__(folder, more=_authorization(password))

    def change(self, password: str) -> None:
        """See `Guarded`."""
        self._more = _authorization(password)
        self._prepared()
        os.kill(self.pid, signal.SIGHUP)


def _authorization(password: str) -> str:
    return f'authorization {{ user: {USER}, password: "{password}" }}\n'


def _redis(request: pytest.FixtureRequest, folder: Path) -> Guarded:
    more = (f"requirepass {_KEEPER}", f"user {USER} on >{RIGHT} ~* &* +@all", "maxmemory 20gb")
    server = RedisServer(folder / "guarded", more=more)
    request.addfinalizer(server.stop)
    server.start()

    def change(password: str) -> None:
        commands = (f"AUTH {_KEEPER}", f"ACL SETUSER {USER} resetpass >{password}")
        parts = urlsplit(server.url)
        with socket.create_connection((parts.hostname or "", parts.port or 0)) as link:
            link.sendall("".join(f"{command}\r\n" for command in commands).encode())
            with link.makefile("rb") as answers:
                assert [answers.readline() for _ in commands] == [b"+OK\r\n"] * 2

    return Guarded(server.url, change)


def _rabbitmq(request: pytest.FixtureRequest, _folder: Path) -> Guarded:
    server: RabbitServer = request.getfixturevalue("own_rabbitmq")()
    server.control("add_user", USER, RIGHT)
    server.control("set_permissions", USER, ".*", ".*", ".*")

    def change(password: str) -> None:
        server.control("change_password", USER, password)

    return Guarded(server.url, change, database=server.database)


def _kafka(request: pytest.FixtureRequest, _folder: Path) -> Guarded:
    server: KafkaServer = request.getfixturevalue("kafka_server")

    def change(password: str) -> None:
        server.scram(USER, password)

    change(RIGHT)
    return Guarded(server.login_url, change, "?login=SCRAM-SHA-256", server.database)


_GUARDED = MappingProxyType(
    {"nats": _nats, "redis": _redis, "rabbitmq": _rabbitmq, "kafka": _kafka}
)


@dataclass(frozen=True, slots=True)
class GuardedDatabase:
    """A PostgreSQL whose database `url` leads to with a password, which `change` changes."""

    server: PostgresServer

    def url(self, password: str = RIGHT) -> str:
        """Where clients connect."""
        return self.server.url.replace("://postgres@", f"://{USER}:{password}@")

    def change(self, password: str) -> None:
        """Who is connected stays so; `cut` ends that."""
        self.server.run(f"ALTER ROLE {USER} PASSWORD '{password}'")

    def cut(self) -> None:
        """End the connections of `USER`."""
        ours = f"FROM pg_stat_activity WHERE usename = '{USER}'"
        self.server.run(f"SELECT pg_terminate_backend(pid) {ours}")


def guard(server: PostgresServer) -> GuardedDatabase:
    """A server of the test's own, which asks `USER` for a password from now on."""
    server.run(f"CREATE ROLE {USER} LOGIN PASSWORD '{RIGHT}'")
    server.run(f"GRANT ALL ON DATABASE {urlsplit(server.url).path[1:]} TO {USER}")
    rules = server.state / "postgres" / "data" / "pg_hba.conf"
    asked = f"local all {USER} scram-sha-256\n"
    rules.write_text(asked + rules.read_text(encoding="utf-8"), encoding="utf-8")
    server.run("SELECT pg_reload_conf()")
    return GuardedDatabase(server)
