"""A real server and the environment of processes that use it, for benchmarks."""

import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from tests.brokers import Broker
from tests.kafka_server import KafkaServer
from tests.rabbitmq_server import RabbitServer, running
from tests.redis_server import RedisServer
from tests.servers import NatsServer, PostgresServer, open_folder
from workers.settings import Loaded, load

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Bench:
    """A fresh server; `fleet` prefixes what is created on it, `database` lies beside it where it
    needs one."""

    url: str
    folder: Path
    fleet: str
    database: str | None = None

    def environment(self, **more: str) -> Mapping[str, str]:
        """For a process of this fleet."""
        own = {
            "MUSTER_BUS_URL": self.url,
            "MUSTER_FLEET_NAME": self.fleet,
            "MUSTER_ROLES": str(ROOT / "tests" / "bench" / "roles.py"),
            "MUSTER_LOG_LEVEL": "warning",
        }
        beside = {"MUSTER_BUS_DATABASE": self.database} if self.database else {}
        return {**os.environ, **own, **beside, **more}

    def loaded(self) -> Loaded:
        """The settings of this fleet."""
        flags = {"bus.url": self.url, "fleet.name": self.fleet, "bus.database": self.database}
        return load(self.folder, flags=flags)

    def another_fleet(self) -> "Bench":
        """The same server, with nothing on it that others have made."""
        return replace(self, fleet=f"bench-{secrets.token_hex(4)}")


MUSTER = (sys.executable, "-m", "workers.cli.main")


@contextmanager
def server(name: str = "nats") -> Iterator[Bench]:
    """A broker with every promise kept, in a folder that goes with it."""
    with (
        tempfile.TemporaryDirectory(prefix="muster-bench-") as folder,
        _SERVERS[name](Path(folder) / name) as broker,
    ):
        yield Bench(broker.url, Path(folder), "bench", broker.database)


@contextmanager
def _nats(folder: Path) -> Iterator[Broker]:
    with _stopped(NatsServer(folder)) as started:
        yield started


@contextmanager
def _redis(folder: Path) -> Iterator[Broker]:
    with _stopped(RedisServer(folder)) as started:
        yield started


@contextmanager
def _rabbitmq(folder: Path) -> Iterator[Broker]:
    with _database() as beside, running(RabbitServer(folder, beside, beside.url)) as started:
        yield started


@contextmanager
def _kafka(folder: Path) -> Iterator[Broker]:
    with _database() as beside, _stopped(KafkaServer(folder, beside, beside.url)) as started:
        yield started


@contextmanager
def _database() -> Iterator[PostgresServer]:
    with open_folder() as folder:
        beside = PostgresServer(folder / "state")
        try:
            beside.start()
            yield beside
        finally:
            beside.stop()


@contextmanager
def _stopped(broker: Broker) -> Iterator[Broker]:
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


_SERVERS: Mapping[str, Callable[[Path], AbstractContextManager[Broker]]] = MappingProxyType(
    {"nats": _nats, "redis": _redis, "rabbitmq": _rabbitmq, "kafka": _kafka}
)
