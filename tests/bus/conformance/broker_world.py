"""The world of a real broker."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypedDict, TypeVar

import pytest
from typing_extensions import override

from bus.backend import Backend
from bus.backends import choice
from bus.keyvalue.protocol import KeyValue
from bus.opening import Parts, Terms
from contracts.clock import SystemClock
from tests.brokers import Broker, Server
from tests.bus.conformance.harness import World
from tests.bus.conformance.members import Remote
from tests.bus.conformance.process_member import ProcessMember
from tests.proxy import Proxy

T = TypeVar("T")


class Addresses(TypedDict):
    """Where the parts of a broker are."""

    url: str
    fallback: str | None
    database: str | None


class BrokerWorld(World):
    """A fleet on a real broker; only a world with a broker of its own may stop it, and only one
    behind proxies can be cut off. `database`: another address of the broker's bus database."""

    def __init__(
        self,
        broker: Broker,
        *,
        max_bytes: int | None = None,
        proxies: Sequence[Proxy] = (),
        database: str | None = None,
    ) -> None:
        super().__init__(max_bytes=max_bytes)
        self.lease = broker.lease
        self.clock = SystemClock()
        self._proxies = proxies
        self._broker = broker
        self._database = database or broker.database
        self.opened: list[Parts] = []
        self._spent = 0.0
        self._starting_since: float | None = None

    @override
    def neighbour(self) -> World:
        return BrokerWorld(self._broker)

    @override
    async def within(self, seconds: float, work: Coroutine[Any, Any, T]) -> T:
        """The time in which a broker starts does not count."""
        task = asyncio.ensure_future(work)
        end = self.clock.monotonic() + seconds - self._spent_starting()
        try:
            while not task.done():
                left = end + self._spent_starting() - self.clock.monotonic()
                if left <= 0:
                    pytest.fail(f"not within {seconds:g} s")
                await asyncio.wait([task], timeout=left)
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    @override
    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @override
    async def stop_broker(self, *, kill: bool) -> None:
        await self._stop(self._broker, kill=kill)

    @override
    async def start_broker(self) -> None:
        await self._start(self._broker)

    @override
    async def stop_store(self, *, kill: bool) -> None:
        await self._stop(self._broker.store, kill=kill)

    @override
    async def start_store(self) -> None:
        await self._start(self._broker.store)

    @override
    async def freeze_broker(self) -> None:
        await asyncio.to_thread(self._broker.freeze)

    @override
    async def thaw_broker(self) -> None:
        await asyncio.to_thread(self._broker.thaw)

    @override
    async def freeze_store(self) -> None:
        await asyncio.to_thread(self._broker.store.freeze)

    @override
    async def thaw_store(self) -> None:
        await asyncio.to_thread(self._broker.store.thaw)

    async def _stop(self, server: Server, *, kill: bool) -> None:
        await asyncio.to_thread(server.kill if kill else server.stop)

    async def _start(self, server: Server) -> None:
        self._starting_since = self.clock.monotonic()
        await asyncio.to_thread(server.start)
        self._spent, self._starting_since = self._spent_starting(), None

    def _spent_starting(self) -> float:
        """Seconds in which the broker was started, until now."""
        if self._starting_since is None:
            return self._spent
        return self._spent + self.clock.monotonic() - self._starting_since

    @override
    async def cut_off(self, *, silently: bool) -> None:
        assert self._proxies
        for proxy in self._proxies:
            if silently:
                proxy.hang()
            else:
                await proxy.cut()

    @override
    async def reconnect(self) -> None:
        for proxy in self._proxies:
            await proxy.mend()

    @override
    async def close(self) -> None:
        await super().close()
        for parts in self.opened:
            await parts.close()

    @override
    async def _connect(self) -> Backend:
        return (await self._opened()).backend

    @override
    async def _connect_store(self) -> KeyValue:
        return (await self._opened()).store

    async def _opened(self) -> Parts:
        """A connection of its own, of which one half is used."""
        parts = await choice.open_parts(
            Terms(
                **self.addresses(),
                fleet=self.fleet,
                lease=self.lease,
                slices=self.slices,
                clock=self.clock,
                max_bytes=self.max_bytes,
            )
        )
        self.opened.append(parts)
        return parts

    def addresses(self) -> Addresses:
        """By which way this world reaches what makes its broker."""
        url, fallback = self._broker.url, self._broker.fallback
        if self._proxies:
            url = self._proxies[0].url
            fallback = self._proxies[1].url if fallback else None
        return {"url": url, "fallback": fallback, "database": self._database}

    @override
    async def _start_member(self) -> Remote:
        return await ProcessMember.start(self._broker, self.fleet)
