"""Two connections to RabbitMQ: the broker may block the one that publishes; acks must go on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiormq

from bus.backends.rabbitmq.errors import closed, translated, unreachable
from bus.errors import AccessDenied
from bus.lockout import Lockouts
from contracts.clock import Clock

T = TypeVar("T")

_FAREWELL = 2.0
"""Seconds a connection that is closed has to say so."""

_MOMENT = 0.05
"""Seconds for which a broker that was heard is taken for one that is there."""

_CONTROLS = 4
"""Channels for questions: each answers one at a time."""


def described(url: str) -> str:
    """Host, port and virtual host, without user and password."""
    parts = urlsplit(url)
    port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
    return f"{parts.hostname}:{port}/{parts.path.lstrip('/')}"


def with_heartbeat(url: str, seconds: int) -> str:
    """The address with what the client library reads from it."""
    parts = urlsplit(url)
    query = "&".join(filter(None, [parts.query, f"heartbeat={seconds}"]))
    return parts._replace(query=query).geturl()


@dataclass(slots=True, eq=False)
class Pair:
    """The connections of one time, and what was opened on them."""

    publishing: Any
    consuming: Any
    publisher: Any
    _controls: dict[int, Any]
    _mending: asyncio.Lock = field(default_factory=asyncio.Lock)
    _asked: int = 0
    dead: bool = False

    @property
    def alive(self) -> bool:
        """Whether all of it can be used."""
        every = (self.publishing, self.consuming, self.publisher)
        return not self.dead and not any(each.is_closed for each in every)

    async def control(self) -> Any:
        """A channel for questions. The broker closes it for one about a queue that is not there;
        then the next one has another."""
        self._asked += 1
        number = self._asked % _CONTROLS
        found = self._controls.get(number)
        if found is None or found.is_closed:
            async with self._mending:
                found = self._controls.get(number)
                if found is None or found.is_closed:
                    found = await self.consuming.channel(publisher_confirms=False)
                    self._controls[number] = found
        return found

    async def waiting(self, queue: str) -> tuple[int, int]:
        """How many messages lie in a queue, and its consumers."""
        answer = await (await self.control()).queue_declare(queue, passive=True)
        return int(answer.message_count), int(answer.consumer_count)

    def silence(self) -> float:
        """Seconds since the consuming connection heard anything."""
        heard: float = getattr(self.consuming, "_Connection__last_frame_time", 0.0)
        return self.consuming.loop.time() - heard  # type: ignore[no-any-return]

    @property
    def blocked(self) -> bool:
        """Whether the broker takes no messages: an alarm of its memory or its disk."""
        free = getattr(self.publishing, "_Connection__connection_unblocked", None)
        return free is not None and not free.is_set()


class RabbitLink:
    """Connects, and connects anew in the next call. `lost` is called when connections ended."""

    def __init__(
        self,
        url: str,
        *,
        beat: int,
        patience: float,
        clock: Clock,
        name: str,
        lockouts: Lockouts | None = None,
    ) -> None:
        self.where = described(url)
        self.beat = beat
        self.patience = patience
        self.clock = clock
        self.lost: list[Callable[[], None]] = []
        self.is_closed = False
        self.exchange = ""
        self.url = url
        self._url = with_heartbeat(url, beat)
        self._name = name
        self._pair: Pair | None = None
        self._lockout = (lockouts or Lockouts()).of(f"RabbitMQ at {self.where}")
        self._linking = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._connecting: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    async def pair(self) -> Pair:
        """The connections, new ones if need be."""
        if self.is_closed:
            raise closed()
        if self._pair is not None and self._pair.alive:
            return self._pair
        async with self._linking:
            if self._pair is None or not self._pair.alive:
                await self._renew()
        if self._pair is None:
            raise closed()
        return self._pair

    async def _renew(self) -> None:
        if self._pair is not None:
            self.drop(self._pair)
        if self._connecting is None or self._connecting.done():
            self._connecting = self.spawn(self._connect())
        try:
            with self.errors():
                await self.run(_result(self._connecting))
        except AccessDenied as error:
            if self._pair is None:
                raise
            raise self._lockout.begun(error.details) from error
        self._lockout.over()
        if self._watching is None or self._watching.done():
            self._watching = self.spawn(self._watch())

    async def _connect(self) -> None:
        """Goes on though whoever wanted it is cancelled: the next one finds its connections."""
        self._pair = await self._connected()

    async def _connected(self) -> Pair:
        props: dict[str, Any] = {"connection_name": self._name}
        made: list[Any] = []
        try:
            async with asyncio.timeout(self.patience):
                for _ in range(2):
                    made.append(aiormq.Connection(self._url, client_properties=props))
                    await made[-1].connect()
                publisher = await made[0].channel()
                control = await made[1].channel(publisher_confirms=False)
                if self.exchange:
                    await control.exchange_declare(
                        self.exchange, exchange_type="topic", durable=True
                    )
        except BaseException:
            for link in made:
                self._end(link)
            raise
        pair = Pair(made[0], made[1], publisher, {0: control})
        for each in (*made, publisher):
            each.closing.add_done_callback(lambda _: self._ended(pair))
        return pair

    def drop(self, pair: Pair) -> None:
        """Use these connections no more."""
        if not pair.dead:
            pair.dead = True
            for link in (pair.publishing, pair.consuming):
                self._end(link)
            self._ended(pair)

    async def heard(self) -> Pair:
        """The connections, on which the broker was heard a moment ago or has answered now."""
        pair = await self.pair()
        if pair.silence() > _MOMENT:
            await self.ask()
            pair = await self.pair()
        return pair

    async def ask(self) -> None:
        """Return when the broker has answered on the connection that consumes. Whoever asks while
        another does is answered with him."""
        pair = await self.pair()
        if self._asking is None or self._asking.done():
            self._asking = self.spawn(self._ask(pair))
        with self.errors():
            await self.run(_result(self._asking))

    async def _ask(self, pair: Pair) -> None:
        try:
            async with asyncio.timeout(self.patience):
                await (await pair.control()).basic_qos(prefetch_count=0)
        except BaseException:
            self.drop(pair)
            raise

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[Any]:
        """A channel of its own, for what the broker may answer by closing it."""
        pair = await self.pair()
        with self.errors():
            channel = await self.run(pair.consuming.channel(publisher_confirms=False))
            try:
                yield channel
            finally:
                self.spawn(_quiet(channel.close()))

    def errors(self) -> Any:
        """The context that raises errors of the bus only."""
        return translated(self.where)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """To its end, though the caller is cancelled: a cancelled call closes its channel, with
        all that is held on it. Raises `Unreachable` after `patience`."""
        task = self.spawn(work)
        done, _ = await asyncio.wait([task], timeout=self.patience)
        if not done:
            if self._pair is not None:
                self.drop(self._pair)
            raise unreachable(self.where, f"no answer in {self.patience:g} s")
        if task.cancelled():  # the client's word for a connection that ended
            raise closed() if self.is_closed else unreachable(self.where, "the connection ended")
        return task.result()

    async def whole(self, task: "asyncio.Task[T]") -> T:
        """The result of a task that goes on though the caller is cancelled."""
        await asyncio.wait([task])
        if task.cancelled():
            raise closed()
        return task.result()

    def spawn(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """A task that ends with this connection."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()

    async def close(self) -> None:
        """End the connections, which gives back at once all that is held on them."""
        if self.is_closed:
            return
        self.is_closed = True
        pair, self._pair = self._pair, None
        if pair is not None:
            pair.dead = True
            links = (pair.publishing, pair.consuming)
            ends = [asyncio.ensure_future(_quiet(link.close())) for link in links]
            await asyncio.wait(ends, timeout=_FAREWELL)
            self._ended(pair)
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _end(self, link: Any) -> None:
        self.spawn(_quiet(link.close()))

    def _ended(self, pair: Pair) -> None:
        pair.dead = True
        for each in self.lost:
            each()

    async def _watch(self) -> None:
        """Drop connections on which nothing is heard: the broker thinks that we are gone."""
        while self._pair is not None and self._pair.alive:
            pair = self._pair
            silent = pair.silence()
            if silent > 2 * self.beat + 0.5:
                self.drop(pair)
                return
            await self.clock.sleep(max(0.1, 2 * self.beat + 0.6 - silent))


async def _result(task: "asyncio.Task[T]") -> T:
    return await asyncio.shield(task)


async def _quiet(work: Coroutine[Any, Any, Any]) -> None:
    with suppress(Exception):
        await work
