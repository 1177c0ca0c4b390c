"""Two brokers that make one bus, each of which a test may also kill and freeze on its own."""

from collections.abc import Callable

import pytest

from tests.brokers import Broker, Server
from tests.servers import PostgresServer

PAIRS = (("nats", "nats"), ("rabbitmq", "nats"), ("kafka", "redis"))
"""The names of first and second bus the tests of failover run on."""

PARAMS = [
    pytest.param(
        names,
        id="-".join(names),
        marks=[getattr(pytest.mark, name) for name in {"failover", *names} - {"nats"}],
    )
    for names in PAIRS
]
"""The same as parameters of tests; NATS is what failover needs anyway."""


class Pair:
    """A `Broker` made of two; what is done to it is done to both. `database`: of the fleets on it,
    in the PostgreSQL `store`."""

    def __init__(self, first: Broker, second: Broker, store: Server, database: str) -> None:
        self.first = first
        self.second = second
        self.store = store
        self.database: str | None = database
        self.lease = max(first.lease, second.lease)
        self.starting = max(first.starting, second.starting)

    @property
    def url(self) -> str:
        """Where the first one is."""
        return self.first.url

    @property
    def fallback(self) -> str:
        """Where the second one is."""
        return self.second.url

    def start(self) -> None:
        """See `Broker`."""
        self.first.start()
        self.second.start()

    def kill(self) -> None:
        """See `Broker`."""
        self.first.kill()
        self.second.kill()

    def stop(self) -> None:
        """See `Broker`."""
        self.first.stop()
        self.second.stop()

    def freeze(self) -> None:
        """See `Broker`."""
        self.first.freeze()
        self.second.freeze()

    def thaw(self) -> None:
        """See `Broker`."""
        self.first.thaw()
        self.second.thaw()


def own_pair(request: pytest.FixtureRequest, first: Broker, second: Broker) -> Pair:
    """A pair of these, on the database that one of them has already, or on one of its own."""
    for broker in (first, second):
        if broker.database is not None:
            return Pair(first, second, broker.store, broker.database)
    make: Callable[[], PostgresServer] = request.getfixturevalue("own_postgres")
    database = make()
    return Pair(first, second, database, database.url)
