"""Fixtures every folder of tests may use: real servers, and a way to say what happened."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from deploy import postgres_server as postgresql
from deploy.brokers import BROKERS
from deploy.errors import ServerMissing
from deploy.program import Program
from tests import at_once, brokers, forms, pairs
from tests.kafka_server import KafkaServer
from tests.pairs import Pair, own_pair
from tests.rabbitmq_server import RabbitServer, program, running
from tests.redis_server import RedisServer
from tests.servers import NatsServer, PostgresServer, open_folder

settings.register_profile(
    "busy", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # a machine that does something else meanwhile fails no property
settings.load_profile("busy")


def pytest_configure(config: pytest.Config) -> None:
    """Let a module be compiled once, also where an environment forbids to keep what was compiled:
    hundreds of processes of these tests import the product, which takes each twice as long then.
    And name failures at once."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    _hear_interrupts()
    at_once.register(config)


def _hear_interrupts() -> None:
    """A shell lets what it runs in the background ignore Ctrl-C, which every process started from
    there would inherit: those that tests interrupt too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> list[str]:
    """Which forms are run, and on what."""
    chosen = brokers.chosen()
    lines = [forms.header(), f"brokers: {', '.join(chosen)} ({brokers.VARIABLE})"]
    lines += [_release(BROKERS[name]) for name in chosen if name in BROKERS]
    return [*lines, _release_of_postgres()]


def _release(program: Program) -> str:
    try:
        return f"{program.title} {program.release()}"
    except ServerMissing as error:
        return f"{program.title}: {error}"


def _release_of_postgres() -> str:
    try:
        command = [str(postgresql.locate().postgres), "--version"]
    except ServerMissing as error:
        return f"{postgresql.NAME}: {error}"
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


_SLOW = tuple(
    f"tests/{folder}/"
    for folder in ("pains", "e2e", "freshness", "cli", "bus/sabotage", "history", "deploy", "fleet")
)
"""Folders with the slowest files: begun last, they would be waited for by everybody."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long forms may take longer; the slowest files come first, each file in its own order."""
    brokers.deselect(config, items)
    forms.give_time(items)
    items.sort(key=lambda item: not item.nodeid.startswith(_SLOW))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was killed, run again, doubled and lost."""
    lines = forms.told(terminalreporter)
    if lines:
        terminalreporter.section("what happened")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def happened(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Say what happened in a test: shown at the end of the run, also of a parallel one."""

    def say(text: str) -> None:
        print(text)
        record_property(forms.HAPPENED, text)

    return say


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """The server all tests share: use your own fleet name on it, and never stop it."""
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.discard()


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[Callable[[], NatsServer]]:
    """Makes servers of the test's own, started, which it may kill, freeze and restart."""
    with ExitStack() as stack:
        made = 0

        def make() -> NatsServer:
            nonlocal made
            made += 1
            server = NatsServer(tmp_path / f"nats-{made}")
            stack.callback(server.discard)
            server.start()
            return server

        yield make


@pytest.fixture(params=brokers.REAL)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> brokers.Broker:
    """Each real broker by turns, shared by all tests; processes whose folder is `tmp_path` find
    what belongs to it."""
    return brokers.tell(brokers.shared(request, request.param), tmp_path)


@pytest.fixture(params=brokers.REAL)
def own_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], brokers.Broker]:
    """As `broker`, of the test's own."""

    def make() -> brokers.Broker:
        return brokers.tell(brokers.own(request, request.param), tmp_path)

    return make


@pytest.fixture(scope="session", name="redis_server")
def _redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The server all tests share: use your own fleet name on it, and never stop it."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.discard()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Makes servers of the test's own, started, which it may kill, freeze and restart; with lines
    of configuration of its own."""
    with ExitStack() as stack:
        made = 0

        def make(*more: str) -> RedisServer:
            nonlocal made
            made += 1
            server = RedisServer(tmp_path / f"redis-{made}", more=more)
            stack.callback(server.discard)
            server.start()
            return server

        yield make


@pytest.fixture(scope="session")
def rabbitmq_server(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer
) -> Iterator[RabbitServer]:
    """The server all tests share: use your own fleet name on it, and never stop it."""
    program()
    folder = tmp_path_factory.mktemp("rabbitmq")
    with (
        postgres_server.fresh_database() as url,
        running(RabbitServer(folder, postgres_server, url)) as server,
    ):
        yield server


@pytest.fixture
def own_rabbitmq(
    tmp_path: Path, own_postgres: Callable[[], PostgresServer]
) -> Iterator[Callable[..., RabbitServer]]:
    """Makes servers of the test's own, started, each beside a PostgreSQL of its own."""
    with ExitStack() as stack:
        made = 0

        def make(**options: Any) -> RabbitServer:
            nonlocal made
            made += 1
            program()
            beside = own_postgres()
            folder = tmp_path / f"rabbitmq-{made}"
            server = RabbitServer(folder, beside, beside.url, **options)
            return stack.enter_context(running(server))

        yield make


@pytest.fixture(scope="session")
def kafka_server(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer
) -> Iterator[KafkaServer]:
    """The server all tests share: use your own fleet name on it, and never stop it."""
    folder = tmp_path_factory.mktemp("kafka")
    with postgres_server.fresh_database() as database:
        server = KafkaServer(folder, postgres_server, database)
        server.start()
        yield server
        server.discard()


@pytest.fixture
def own_kafka(
    tmp_path: Path, own_postgres: Callable[[], PostgresServer]
) -> Iterator[Callable[..., KafkaServer]]:
    """Makes servers of the test's own, started, each beside a PostgreSQL of its own."""
    with ExitStack() as stack:
        made = 0

        def make(**options: Any) -> KafkaServer:
            nonlocal made
            made += 1
            beside = own_postgres()
            server = KafkaServer(tmp_path / f"kafka-{made}", beside, beside.url, **options)
            stack.callback(server.discard)
            server.start()
            return server

        yield make


@pytest.fixture
def free_folder() -> Iterator[Path]:
    """A folder that any account of this machine may pass, as an embedded PostgreSQL needs it."""
    with open_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server all tests share: use `history_url` on it, and never stop it."""
    with open_folder() as folder:
        server = PostgresServer(folder / "state")
        server.start()
        yield server
        server.discard()


@pytest.fixture
def history_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a database of the test's own, empty."""
    with postgres_server.fresh_database() as url:
        yield url


@pytest.fixture
def own_postgres(free_folder: Path) -> Iterator[Callable[[], PostgresServer]]:
    """Makes servers of the test's own, started, which it may kill, freeze and restart."""
    with ExitStack() as stack:
        made = 0

        def make() -> PostgresServer:
            nonlocal made
            made += 1
            server = PostgresServer(free_folder / f"postgres-{made}")
            stack.callback(server.discard)
            server.start()
            return server

        yield make


@pytest.fixture(params=pairs.PARAMS)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Pair:
    """Two brokers of the test's own by turns, and the database beside them; processes whose folder
    is `tmp_path` find what belongs to it."""
    first, second = (brokers.own(request, name) for name in request.param)
    made = own_pair(request, first, second)
    brokers.tell(made, tmp_path)
    return made


@pytest.fixture(scope="session")
def failover_server(
    nats_server: NatsServer,
    postgres_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    """The pair all tests share: use your own fleet name on it, and never stop it."""
    second = NatsServer(tmp_path_factory.mktemp("fallback"))
    second.start()
    with postgres_server.fresh_database() as url:
        yield Pair(nats_server, second, postgres_server, url)
    second.discard()


@pytest.fixture
def own_failover(
    request: pytest.FixtureRequest, own_nats: Callable[[], NatsServer]
) -> Callable[[], Pair]:
    """Makes pairs of the test's own, started, which it may kill, freeze and restart."""
    return lambda: own_pair(request, own_nats(), own_nats())
