"""Real nodes in one process, over loopback, on real folders; and clients of them."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from consensus.client.client import LedgerClient
from consensus.client.operating import Operator
from consensus.node.beginning import new_cluster, new_node
from consensus.node.node import Node
from consensus.node.opening import open_node
from consensus.node.settings import NodeSettings
from consensus.storage.record import Bootstrap, write_record
from consensus.storage.store import Limits
from consensus.wire.hello import Party
from consensus.wire.keys import Keys
from deploy.ports import LOOPBACK, free

T = TypeVar("T")
KEYS = {party: party.name.encode().ljust(32, b".") for party in Party}
ALL = Keys(Party.PEER, KEYS)
OF_WORKER = Keys(Party.WORKER, {Party.WORKER: KEYS[Party.WORKER]})
OF_OPERATOR = Keys(Party.OPERATOR, {Party.OPERATOR: KEYS[Party.OPERATOR]})
SMALL = Limits(floor=1, ballast=0, margin=1)
RNG = random.Random(7)
HASH = bytes(32)


async def soon(wanted: Awaitable[T], seconds: float = 20) -> T:
    """What is waited for, or a failure of the test."""
    async with asyncio.timeout(seconds):
        return await wanted


async def until(asked: Callable[[], Any], seconds: float = 20) -> None:
    """Return when something has become so."""
    async with asyncio.timeout(seconds):
        while not asked():  # noqa: ASYNC110 - a state of a node has no event
            await asyncio.sleep(0.002)


def places(count: int) -> list[str]:
    """Addresses where nobody listens, each once."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[f"{LOOPBACK}:{free()}"] = None
    return list(found)


class Cluster:
    """Some nodes; `halted` are the errors of those that could not go on."""

    def __init__(self, folder: Path, count: int, **settings: Any) -> None:
        self.folder = folder
        self.settings = settings
        self.nodes: dict[str, Node] = {}
        self.halted: dict[str, BaseException] = {}
        addresses = places(count)
        now_ms = int(time.time() * 1000)
        self.records: dict[str, Bootstrap] = {}
        for address, record in zip(
            addresses, new_cluster(addresses, now_ms=now_ms, rng=RNG), strict=True
        ):
            self.prepare(address, record)

    def prepare(self, address: str, record: Bootstrap) -> None:
        """Make the folder of a node."""
        folder = self.folder_of(address)
        folder.mkdir(parents=True)
        write_record(folder, record)
        self.records[address] = record

    def prepare_joiner(self) -> str:
        """Make the folder of a node that is to join; its address."""
        address = f"{LOOPBACK}:{free()}"
        cluster = next(iter(self.records.values())).cluster
        self.prepare(address, new_node(cluster, rng=RNG))
        return address

    def folder_of(self, address: str) -> Path:
        """Of the node at an address."""
        return self.folder / address.rpartition(":")[2]

    @property
    def addresses(self) -> list[str]:
        """Of all nodes that were ever prepared."""
        return list(self.records)

    def settings_of(self, address: str) -> NodeSettings:
        """How a node is run."""
        made = NodeSettings(
            folder=self.folder_of(address),
            address=address,
            keys=ALL,
            tick_ms=10,
            storage=SMALL,
            halt=lambda error: self.halted.__setitem__(address, error),
        )
        return replace(made, **self.settings)

    async def start(self, address: str, **settings: Any) -> Node:
        """Run one."""
        node = open_node(replace(self.settings_of(address), **settings), rng=RNG)
        self.nodes[address] = node
        await node.start()
        return node

    async def stop(self, address: str) -> None:
        """End one in order."""
        await self.nodes.pop(address).close()

    def node(self, id_: int) -> Node:
        """The running node of an id."""
        return next(node for node in self.nodes.values() if node.id == id_)

    async def leader(self, *but: Node) -> Node:
        """The one that takes commands."""
        found: list[Node] = []

        def ready() -> bool:
            found[:] = [n for n in self.nodes.values() if n.status().ready and n not in but]
            return bool(found)

        await until(ready)
        return max(found, key=lambda node: node.status().term)

    async def followers(self) -> list[Node]:
        """All others."""
        leader = await self.leader()
        return [node for node in self.nodes.values() if node is not leader]

    async def level(self) -> None:
        """Return when all nodes have applied what the leader has."""
        leader = await self.leader()

        def reached() -> bool:
            applied = leader.status().applied
            return all(node.status().applied >= applied for node in self.nodes.values())

        await until(reached)


@asynccontextmanager
async def running(folder: Path, count: int = 3, **settings: Any) -> AsyncIterator[Cluster]:
    """A cluster that runs, closed at the end."""
    cluster = Cluster(folder, count, **settings)
    try:
        for address in cluster.addresses:
            await cluster.start(address)
        yield cluster
    finally:
        await asyncio.gather(*(node.close() for node in cluster.nodes.values()))


@asynccontextmanager
async def clients(cluster: Cluster, *workers: str, **options: Any) -> AsyncIterator[Any]:
    """Clients, one for each name; one alone where there is one name."""
    async with AsyncExitStack() as stack:
        made = [
            await stack.enter_async_context(
                LedgerClient(cluster.addresses, worker=name, keys=OF_WORKER, **options)
            )
            for name in workers
        ]
        yield made[0] if len(made) == 1 else made


@asynccontextmanager
async def operator(cluster: Cluster) -> AsyncIterator[Operator]:
    """A client with the operators' key."""
    async with Operator(cluster.addresses, keys=OF_OPERATOR) as made:
        yield made


async def opened(client: LedgerClient, key: str, **changed: Any) -> Any:
    """An auction of a task for `maker`."""
    spec: dict[str, Any] = {"window_ms": 200, "lease_ms": 60_000, "max_awards": 3}
    return await client.open_auction(key, "maker", spec_hash=HASH, **{**spec, **changed})
