"""Brokers of somebody else's that want a password, by TLS."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy import ports
from tests import kafka_server, rabbitmq_server
from tests.certificates import Certificates, issued
from tests.kafka_server import KafkaServer
from tests.rabbitmq_server import RabbitServer, program, running
from tests.redis_server import RedisServer
from tests.server_process import ServerProcess
from tests.servers import NatsServer, PostgresServer

PASSWORD = "s3cret"

Beside = Callable[[], PostgresServer]


@dataclass(frozen=True, slots=True)
class Secured:
    """`url`: for plain clients, who may have a door of their own; `door`: where a bridge enters,
    with `password` in it; `options`: of its places there."""

    url: str
    door: str
    authority: Path
    password: str = PASSWORD
    options: str = ""

    def beside(self, place: str) -> str:
        """The place of a plain client, through the door."""
        return self.door + place.removeprefix(self.url.rstrip("/")) + self.options


@contextmanager
def _nats(folder: Path, files: Certificates, _: Beside) -> Iterator[Secured]:
    more = (
        f'tls {{ cert_file: "{files.chain}", key_file: "{files.key}" }}\n'
        f"authorization {{ user: ada, password: {PASSWORD} }}\n"
    )
    server = NatsServer(folder, more=more)
    with _started(server):
        url = server.url.replace("nats://127.0.0.1", f"tls://ada:{PASSWORD}@localhost")
        yield Secured(url, url, files.authority)


@contextmanager
def _redis(folder: Path, files: Certificates, _: Beside) -> Iterator[Secured]:
    more = [
        f'tls-cert-file "{files.chain}"',
        f'tls-key-file "{files.key}"',
        "tls-auth-clients no",
        f"requirepass {PASSWORD}",
    ]
    server = RedisServer(folder, more=more, tls=True)
    with _started(server):
        url = server.url.replace("://", f"://:{PASSWORD}@")
        yield Secured(url, url, files.authority)


@contextmanager
def _rabbitmq(folder: Path, files: Certificates, beside: Beside) -> Iterator[Secured]:
    program()
    server, port = _with_tls(folder, files, beside())
    with running(server):
        password = rabbitmq_server.PASSWORD
        door = f"amqps://{rabbitmq_server.USER}:{password}@localhost:{port}"
        yield Secured(server.url, door, files.authority, password)


def _with_tls(
    folder: Path, files: Certificates, beside: PostgresServer
) -> tuple[RabbitServer, int]:
    """A RabbitMQ and its other port."""
    while True:
        port = ports.free()
        more = (
            f"listeners.ssl.1 = {ports.LOOPBACK}:{port}\n"
            f"ssl_options.cacertfile = {files.authority}\n"
            f"ssl_options.certfile = {files.chain}\n"
            f"ssl_options.keyfile = {files.key}\n"
        )
        server = RabbitServer(folder, beside, "", more=more)
        if server.port != port:
            return server, port


@contextmanager
def _kafka(folder: Path, files: Certificates, beside: Beside) -> Iterator[Secured]:
    server = KafkaServer(folder, beside(), "", secure=files.key.parent)
    with _started(server):
        yield Secured(server.url, server.tls_url, files.authority, kafka_server.PASSWORD)


@contextmanager
def _started(server: ServerProcess) -> Iterator[None]:
    try:
        server.start()
        yield
    finally:
        server.stop()


_KINDS: Mapping[str, Callable[[Path, Certificates, Beside], AbstractContextManager[Secured]]] = {
    "nats": _nats,
    "redis": _redis,
    "rabbitmq": _rabbitmq,
    "kafka": _kafka,
}


@contextmanager
def secured(broker: str, folder: Path, beside: Beside) -> Iterator[Secured]:
    """One of this kind until the block ends. `beside`: gives what lies beside those that need a
    database; no bridge does."""
    with _KINDS[broker](folder / "server", issued(folder), beside) as made:
        yield made
