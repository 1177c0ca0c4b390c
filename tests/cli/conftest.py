"""A folder without a bus, and one fleet with a bus and a worker for a whole module."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import GREETER, Muster
from tests.servers import NatsServer


@pytest.fixture
def muster(tmp_path: Path) -> Muster:
    """The command in an empty folder, where no bus runs."""
    return Muster(tmp_path)


@pytest.fixture(scope="module")
def fleet(nats_server: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Muster]:
    """The command in a folder with the role `greeter`, on a bus where one worker runs it."""
    muster = Muster(
        tmp_path_factory.mktemp("fleet"),
        MUSTER_BUS_URL=nats_server.url,
        MUSTER_FLEET_NAME=f"cli-{secrets.token_hex(4)}",
        MUSTER_FLEET_DRAIN="2",
    )
    muster.write("agents/greeter.py", GREETER)
    ended = muster("up", "greeter", "--detach")
    assert ended.code == 0, ended.err
    yield muster
    assert muster("down").code == 0
