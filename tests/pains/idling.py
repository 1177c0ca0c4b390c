"""How much a fleet that has nothing to do asks of its servers, by what these count."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from tests import brokers
from tests.brokers import Broker
from tests.pairs import Pair
from tests.servers import NatsServer, PostgresServer
from tests.watching import (
    asked,
    log_statements,
    messages,
    processor,
    statements,
    total,
    transactions,
)
from workers.engine.source import WAIT

_REST = WAIT + 1.5
"""Seconds after the last task in which those who ran it are done with it, and a pull that began
while something ran is over."""


@dataclass(frozen=True, slots=True)
class Store:
    """A database that a fleet uses, and the server it lies on."""

    server: PostgresServer
    url: str

    def transactions(self) -> int:
        """How many it has seen."""
        return transactions(self.server, self.url)


@dataclass(frozen=True, slots=True)
class Idle:
    """What was asked for `seconds`, by each process and second: operations of the broker, and of
    its kinds all that there were; statements of the bus database, and its transactions, which are
    also of sessions that are told something; transactions of history. `core`: the part of a
    processor that each used."""

    seconds: float
    operations: float
    kinds: Counter[str]
    bus: float
    transactions: float
    history: float
    core: float

    def __str__(self) -> str:
        kinds = ", ".join(f"{n} {kind}" for kind, n in self.kinds.most_common(6))
        return (
            f"each {self.operations:.2f} broker operations/s ({kinds} of all), {self.bus:.2f} "
            f"statements/s of the bus database (transactions {self.transactions:.2f}), of history "
            f"{self.history:.2f}, {self.core:.2%} of a core, over {self.seconds:.0f} s"
        )


def counting(request: pytest.FixtureRequest, name: str) -> Broker:
    """A broker of the test's own that counts what it is asked, and so does what lies beside it."""
    options = {"counting": True} if name == "kafka" else {}
    broker = brokers.own(request, name, **options)
    if bus := _bus(broker):
        log_statements(bus.server)
    return broker


async def idle(
    broker: Broker, history: Store | None, pids: Sequence[int], count: int, seconds: float
) -> Idle:
    """Look on for so long at `count` processes, those with `pids` among them."""
    bus = _bus(broker)
    first = await asyncio.to_thread(_counts, broker, bus, history)
    worked, began = processor(pids), time.monotonic()
    await asyncio.sleep(seconds)
    took, worked = time.monotonic() - began, processor(pids) - worked
    last = await asyncio.to_thread(_counts, broker, bus, history)
    lasted, kinds = last.at - first.at, last.kinds - first.kinds
    return Idle(
        seconds=lasted,
        operations=total(kinds) / lasted / count,
        kinds=kinds,
        bus=(last.bus - first.bus) / lasted / count,
        transactions=(last.transactions - first.transactions) / lasted / count,
        history=(last.history - first.history) / lasted / count,
        core=worked / took / len(pids),
    )


@dataclass(frozen=True, slots=True)
class _Counts:
    """At the moment `at`."""

    at: float
    kinds: Counter[str]
    bus: int
    transactions: int
    history: int


def _counts(broker: Broker, bus: Store | None, history: Store | None) -> _Counts:
    return _Counts(
        bus=statements(bus.server) if bus else 0,
        transactions=bus.transactions() if bus else 0,
        history=history.transactions() if history else 0,
        at=time.monotonic(),
        kinds=asked(broker),
    )


def _bus(broker: Broker) -> Store | None:
    if broker.database is None:
        return None
    assert isinstance(broker.store, PostgresServer)
    return Store(broker.store, broker.database)


async def at_rest() -> None:
    """What ran is done with."""
    await asyncio.sleep(_REST)


async def swept(broker: Broker, fleet: str) -> None:
    """No message is left in a stream of the fleet, where its broker has such."""
    for one in (broker.first, broker.second) if isinstance(broker, Pair) else (broker,):
        if isinstance(one, NatsServer):
            await _swept(one, fleet)


async def _swept(server: NatsServer, name: str) -> None:
    while True:
        left = await asyncio.to_thread(messages, server, name)
        if left and not any(n for stream, n in left.items() if not stream.startswith("KV_")):
            return
        await asyncio.sleep(0.2)
