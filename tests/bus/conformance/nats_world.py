"""The world of a real NATS server."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from typing_extensions import override

from bus.backend import Backend
from bus.backends.nats.backend import NatsBackend
from bus.backends.nats.connect import connect
from bus.backends.nats.link import NatsLink
from bus.keyvalue.nats import NatsKeyValue
from bus.keyvalue.protocol import KeyValue
from contracts.clock import SystemClock
from tests.bus.conformance.harness import World
from tests.bus.conformance.members import Remote
from tests.bus.conformance.nats_member import ProcessMember
from tests.proxy import Proxy
from tests.servers import NatsServer

T = TypeVar("T")


class NatsWorld(World):
    """A fleet on a real NATS server; only a world with a server of its own may stop it, and only
    one behind a proxy can be cut off."""

    def __init__(
        self, server: NatsServer, *, max_bytes: int | None = None, proxy: Proxy | None = None
    ) -> None:
        super().__init__(max_bytes=max_bytes)
        self._proxy = proxy
        self.clock = SystemClock()
        self._server = server
        self._links: list[NatsLink] = []

    @override
    def neighbour(self) -> World:
        return NatsWorld(self._server)

    @override
    async def within(self, seconds: float, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await asyncio.wait_for(work, seconds)
        except TimeoutError:
            pytest.fail(f"not within {seconds:g} s")

    @override
    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @override
    async def stop_broker(self, *, kill: bool) -> None:
        end = self._server.kill if kill else self._server.stop
        await asyncio.to_thread(end)

    @override
    async def start_broker(self) -> None:
        await asyncio.to_thread(self._server.start)

    @override
    async def cut_off(self, *, silently: bool) -> None:
        assert self._proxy is not None
        if silently:
            self._proxy.hang()
        else:
            await self._proxy.cut()

    @override
    async def reconnect(self) -> None:
        assert self._proxy is not None
        await self._proxy.mend()

    @override
    async def close(self) -> None:
        await super().close()
        for link in self._links:
            await link.close()

    @override
    async def _connect(self) -> Backend:
        return NatsBackend(await self._link())

    @override
    async def _connect_store(self) -> KeyValue:
        return NatsKeyValue(await self._link())

    async def _link(self) -> NatsLink:
        url = self._server.url if self._proxy is None else self._proxy.url
        link = await connect(
            url,
            fleet=self.fleet,
            lease=self.lease,
            slices=self.slices,
            clock=self.clock,
            max_bytes=self.max_bytes,
        )
        self._links.append(link)
        return link

    @override
    async def _start_member(self) -> Remote:
        return await ProcessMember.start(self._server.url, self.fleet, self.lease)
