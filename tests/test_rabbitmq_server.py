"""The RabbitMQ that tests use."""

import socket
from collections.abc import Callable
from pathlib import Path

import aiormq
import pytest

from deploy import ports
from tests.rabbitmq_server import RabbitServer, running
from tests.servers import PostgresServer

pytestmark = [pytest.mark.rabbitmq, pytest.mark.slow]


async def test_one_whose_port_was_taken_meanwhile_takes_another(
    tmp_path: Path, own_postgres: Callable[[], PostgresServer]
) -> None:
    """It needs seconds until it listens, in which another run of the tests may choose the same."""
    store = own_postgres()
    server = RabbitServer(tmp_path / "rabbitmq", store, store.url)
    taken = server.port
    with socket.create_server((ports.LOOPBACK, taken)) as rival:
        with running(server):
            assert server.port != taken
            link = await aiormq.connect(server.url)
            await link.close()
        assert rival.fileno() >= 0
