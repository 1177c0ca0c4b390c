"""Closing a connection to NATS while it is being made again."""

import asyncio
import uuid
from typing import Any

import pytest

from bus.backends.nats.connect import connect
from contracts.clock import SystemClock
from tests.servers import NatsServer

pytestmark = pytest.mark.nats


class Made:
    """Connections as they are made; calls `hook` a few turns of the loop after the next one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.turns: int | None = None
        self.now = asyncio.Event()
        self._open = asyncio.open_connection
        monkeypatch.setattr(asyncio, "open_connection", self._noted)

    async def _noted(self, *where: Any, **how: Any) -> Any:
        reader, writer = await self._open(*where, **how)
        self.writers.append(writer)
        if self.turns is not None:
            self._turn(self.turns)
        return reader, writer

    def _turn(self, left: int) -> None:
        if left:
            asyncio.get_running_loop().call_soon(self._turn, left - 1)
        else:
            self.now.set()


@pytest.mark.parametrize("turns", range(0, 12, 2))
async def test_what_is_closed_while_it_reconnects_leaves_no_connection_open(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    """Also in the very moment in which the new connection stands."""
    made = Made(monkeypatch)
    fleet, clock = f"t{uuid.uuid4().hex[:12]}", SystemClock()
    link = await connect(nats_server.url, fleet=fleet, lease=2.0, slices=1, clock=clock)
    made.turns = turns
    made.writers[-1].transport.abort()  # as a network that breaks
    await asyncio.wait_for(made.now.wait(), 5.0)
    await link.close()
    attempt = link.client._reconnection_task
    assert attempt is not None
    assert attempt.done()
    assert [w.transport.is_closing() for w in made.writers] == [True] * len(made.writers)
