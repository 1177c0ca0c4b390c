"""The network between a process and all that makes its broker: cut, it reaches none of it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tests.brokers import Broker
from tests.proxy import Proxy, proxied


@dataclass(frozen=True, slots=True)
class Network:
    """`url` is where a process reaches the broker by it; `environment` tells it where its second
    broker and its bus database are, if it has them. Each has a proxy."""

    url: str
    environment: Mapping[str, str]
    proxies: Sequence[Proxy]

    async def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        await asyncio.gather(*(proxy.cut() for proxy in self.proxies))

    async def mend(self) -> None:
        """Pass everything again."""
        await asyncio.gather(*(proxy.mend() for proxy in self.proxies))


@asynccontextmanager
async def between(broker: Broker) -> AsyncIterator[Network]:
    """A network before all that makes this broker."""
    beside = {"MUSTER_BUS_FALLBACK": broker.fallback, "MUSTER_BUS_DATABASE": broker.database}
    async with AsyncExitStack() as stack:
        front = await stack.enter_async_context(proxied(broker.url))
        others = {
            name: await stack.enter_async_context(proxied(url))
            for name, url in beside.items()
            if url is not None
        }
        environment = {name: proxy.url for name, proxy in others.items()}
        yield Network(front.url, environment, [front, *others.values()])
