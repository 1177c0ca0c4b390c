"""Connections to the brokers of a Kafka, and who leads which partition.

Several connections to each broker: what is written waits for disks, who waits for records waits for
publishers, and a broker answers the requests of one connection in their order. Nothing is retried
here; a connection that broke is made anew by the next request. A Kafka of one broker is spoken to
at the address that was given, whatever it advertises.
"""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError, KafkaError, NotLeaderForPartitionError
from aiokafka.protocol.metadata import MetadataRequest

from bus.backends.kafka.address import Address
from bus.backends.kafka.errors import LIBRARY, denied, meaning, refused, translated
from bus.errors import BusError, Closed
from bus.lockout import Lockouts

_ANSWER = 3.0
"""Seconds a broker may take to answer, beside those that it is asked to wait."""


@dataclass(frozen=True, slots=True)
class Use:
    """What a connection is for, and the seconds that a broker is asked to wait on it at most."""

    name: str
    wait: float = 0.0


READ, WRITE = Use("read"), Use("write")


class KafkaLink:
    """The Kafka at `address`. Safe to use concurrently, from one event loop. `patience`: seconds
    to connect; `name`: what its logs call this process."""

    def __init__(
        self,
        address: Address,
        *,
        name: str = "muster",
        patience: float = 5.0,
        lockouts: Lockouts | None = None,
    ) -> None:
        self.address = address
        self.where = address.shown
        self.cluster = ""
        self.controller = -1
        self._name = name
        self._patience = min(patience, _ANSWER)
        self._context = ssl.create_default_context() if address.tls else None
        self._nodes: Mapping[int, tuple[str, int]] = {}
        self._conns: dict[tuple[int, Use], AIOKafkaConnection] = {}
        self._leaders: dict[str, Mapping[int, int]] = {}
        self._locks: defaultdict[Use, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._before: Mapping[int, tuple[str, int]] = {}
        self._writes = cycle((WRITE, Use("write beside it")))
        self._closed = False
        self._lockout = (lockouts or Lockouts()).of(f"Kafka at {self.where}")

    @property
    def nodes(self) -> Iterable[int]:
        """The brokers, by their numbers."""
        return self._nodes.keys()

    async def ready(self, doing: str) -> None:
        """Return when there is a connection. Raises `Unreachable`, `AccessDenied`, `Closed`."""
        await self._conn(self._any(), READ, doing)

    async def ping(self) -> None:
        """Return when a broker has answered on the connection that reads."""
        await self.ask(MetadataRequest([]), "asking whether it is there")

    async def ask(
        self, request: Any, doing: str, *, use: Use = READ, node: int | None = None
    ) -> Any:
        """The answer to a request of a broker, by default of any."""
        conn = await self._conn(self._any() if node is None else node, use, doing)
        with translated(self.where, doing):
            try:
                return await conn.send(request)
            except TimeoutError:
                self._drop(conn)
                raise KafkaConnectionError(f"no answer for {self._patience:g} s") from None

    async def leaders(self, topic: str, doing: str, parts: Iterable[int] = ()) -> Mapping[int, int]:
        """The brokers that lead the partitions of a topic, these and others."""
        wanted = set(parts)
        found = self._leaders.get(topic)
        if found is None or not wanted <= found.keys():
            answer = await self._metadata(doing, [topic])
            ((code, _, _, led),) = answer.topics
            found = {part: leader for _, part, leader, *_ in led}
            with translated(self.where, doing):
                if code:
                    raise refused(code, topic)
                if min(found.values(), default=-1) < 0 or not wanted <= found.keys():
                    raise NotLeaderForPartitionError(topic)
            self._leaders[topic] = found
        return found

    def another_write(self) -> Use:
        """Two by turns, for what need not keep an order: while a broker waits for its disk it takes
        nothing more of the same connection."""
        return next(self._writes)

    def forget(self, topic: str) -> None:
        """The leaders of a topic may have changed."""
        self._leaders.pop(topic, None)

    def check(self, code: int, topic: str, doing: str) -> None:
        """Raise what an error code in an answer stands for."""
        if code:
            self.forget(topic)
            with translated(self.where, doing):
                raise refused(code, topic)

    async def close(self) -> None:
        """Let go of the connections; a second close does nothing."""
        self._closed = True
        conns, self._conns = self._conns, {}
        await _ended(conns.values())

    async def refresh(self, doing: str) -> None:
        """Ask again which brokers there are."""
        await self._metadata(doing, [])

    def _drop(self, silent: AIOKafkaConnection) -> None:
        """Close this connection, and those to the same broker on which nobody would notice."""
        silent.close()
        for (_, use), conn in self._conns.items():
            if use.wait and (conn.host, conn.port) == (silent.host, silent.port):
                conn.close()

    async def _metadata(self, doing: str, topics: list[str]) -> Any:
        answer = await self.ask(MetadataRequest(topics, False), doing)
        self._learn(answer)
        return answer

    def _learn(self, answer: Any) -> None:
        self.cluster, self.controller = answer.cluster_id, answer.controller_id
        nodes = {node: (host, port) for node, host, port, _ in answer.brokers}
        if len(nodes) == 1 and len(self.address.hosts) == 1:
            nodes = dict.fromkeys(nodes, self.address.hosts[0])
        self._nodes = nodes

    def _any(self) -> int:
        """A broker there is, one that is connected before the others; -1 when none is known."""
        here = (node for (node, _), conn in self._conns.items() if conn.connected())
        return next(here, next(iter(self._nodes), -1))

    async def _conn(self, node: int, use: Use, doing: str) -> AIOKafkaConnection:
        if self._closed:
            raise Closed("the connection to Kafka is closed", details=self.where)
        conn = self._conns.get((node, use))
        if conn is not None and conn.connected():
            return conn
        async with self._locks[use]:
            conn = self._conns.get((node if node >= 0 else self._any(), use))
            if conn is None or not conn.connected():
                conn = await self._connect(node, use, doing)
        return conn

    async def _connect(self, node: int, use: Use, doing: str) -> AIOKafkaConnection:
        """Connect to a broker; to any that answers if it is not known."""
        tries = [*self.address.hosts, *self._before.values()]
        if node in self._nodes:
            tries = [self._nodes[node]]
        why: BaseException = KafkaConnectionError(f"broker {node} is not there")
        for host, port in tries:
            try:
                conn, node = await self._open(host, port, use, node)
            except LIBRARY as error:
                why = error
                continue
            if self._closed:
                conn.close()
                raise Closed("the connection to Kafka is closed", details=self.where)
            self._conns[node, use] = conn
            self._lockout.over()
            return conn
        self._leaders.clear()
        if node in self._nodes:
            self._before, self._nodes = self._nodes, {}
        raise self._failure(why, doing) from why

    def _failure(self, why: BaseException, doing: str) -> BusError:
        """The error to raise where no connection could be made."""
        error = meaning(why, self.where, doing)
        was_let_in = bool(self.cluster)
        return self._lockout.begun(error.details) if was_let_in and denied(why) else error

    async def _open(
        self, host: str, port: int, use: Use, node: int
    ) -> tuple[AIOKafkaConnection, int]:
        """A connection, and the number to keep it under; none is left open where that fails."""
        conn = self._unconnected(host, port, use)
        try:
            async with asyncio.timeout(self._patience):
                await conn.connect()
                if node not in self._nodes:
                    node = await self._introduce(conn)
        except KafkaError:  # it may stand, and nothing is said on it
            await _ended([conn])
            raise
        except BaseException:
            conn.close()
            raise
        return conn, node

    async def _introduce(self, conn: AIOKafkaConnection) -> int:
        """Ask who the brokers are; the number to keep this connection under."""
        self._learn(await conn.send(MetadataRequest([], False)))
        at = {place: node for node, place in self._nodes.items()}
        return at.get((conn.host, conn.port), next(iter(self._nodes), -1))

    def _unconnected(self, host: str, port: int, use: Use) -> AIOKafkaConnection:
        to = self.address
        return AIOKafkaConnection(
            host,
            port,
            client_id=self._name,
            request_timeout_ms=int((self._patience + use.wait) * 1000),
            ssl_context=self._context,
            security_protocol=to.protocol,
            sasl_mechanism=to.login if to.user is not None else None,
            sasl_plain_username=to.user,
            sasl_plain_password=to.password,
        )


async def _ended(conns: Iterable[AIOKafkaConnection]) -> None:
    """Close them, and wait until their sockets are."""
    ended = [ended for conn in conns if (ended := conn.close()) is not None]
    with suppress(*LIBRARY):
        async with asyncio.timeout(1.0):
            await asyncio.gather(*ended)
