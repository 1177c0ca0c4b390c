"""The network between a process and all that makes its broker: cut, it reaches none of it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tests.brokers import Broker
from tests.proxy import Proxy, proxied


@dataclass(frozen=True, slots=True)
class Network:
    """`url` is where a process reaches the broker by it, and `database` its bus database, where it
    has one; each has a proxy, in this order."""

    url: str
    database: str | None
    proxies: Sequence[Proxy]

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process is told beside the url."""
        return {"MUSTER_BUS_DATABASE": self.database} if self.database else {}

    async def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        await asyncio.gather(*(proxy.cut() for proxy in self.proxies))

    async def mend(self) -> None:
        """Pass everything again."""
        await asyncio.gather(*(proxy.mend() for proxy in self.proxies))


@asynccontextmanager
async def between(broker: Broker) -> AsyncIterator[Network]:
    """A network before this broker and, where it has one, its database."""
    async with AsyncExitStack() as stack:
        front = await stack.enter_async_context(proxied(broker.url))
        if broker.database is None:
            yield Network(front.url, None, [front])
            return
        back = await stack.enter_async_context(proxied(broker.database))
        yield Network(front.url, back.url, [front, back])
