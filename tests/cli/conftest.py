"""A folder without a bus, and one fleet with a bus and a worker for a whole module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import GREETER, Muster, worked
from tests.servers import NatsServer


@pytest.fixture
def muster(tmp_path: Path) -> Muster:
    """The command in an empty folder, where no bus runs."""
    return Muster(tmp_path)


@pytest.fixture(scope="module")
def fleet(nats_server: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Muster]:
    """The command in a folder with the role `greeter`, on a bus where one worker runs it."""
    folder = tmp_path_factory.mktemp("fleet")
    with worked(nats_server.url, folder, "greeter", GREETER) as muster:
        yield muster
