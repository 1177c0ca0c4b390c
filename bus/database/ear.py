"""What the bus database tells of itself: notices by channel, over lost connections.

One connection of a process listens. Whatever was committed before a moment has been told when a
question asked after that moment is answered on it: the server sends notices before the answer.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg

from bus.backoff import Backoff
from bus.database.database import BusDatabase
from bus.database.errors import closed, translated
from bus.errors import BusError, DatabaseUnreachable, Unreachable
from contracts.clock import Clock

if TYPE_CHECKING:
    from bus.database.links import Apart

BEAT = 6.0
"""Seconds of silence after which the server is asked whether it is still there, while somebody
listens: a little more than the five in which each worker shows itself, which all hear."""

_AGAIN = Backoff(base=0.05, cap=1.0)
_FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


@dataclass(slots=True, eq=False)
class Listener:
    """`told` gets each notice; `lost` is called when notices may have been missed, `back` when
    they are heard again. None of them may wait or raise."""

    channel: str
    told: Callable[[str], None]
    lost: Callable[[], None]
    back: Callable[[], None]


class Ear:
    """Listens for as long as the database is open; connects anew when it must."""

    def __init__(self, database: BusDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._listeners: list[Listener] = []
        self._link: Apart | None = None
        self._channels: set[str] = set()
        self._lost = asyncio.Event()
        self._up = asyncio.Event()
        self._why: BusError | None = None
        self._tried = asyncio.Event()
        self._heard = clock.monotonic()
        self._asking = asyncio.Lock()
        self._task = asyncio.create_task(self._keep())
        database.on_close.append(self._end)

    async def listen(self, listener: Listener) -> None:
        """From the return on `listener` is told. Raises `Unreachable` if the server is not there
        now; then nobody is told."""
        self._listeners.append(listener)
        try:
            link = await self._connected()
            await self._hear_or_break(link, listener.channel)
        except BaseException:
            self.leave(listener)
            raise

    def leave(self, listener: Listener) -> None:
        """The opposite of `listen`; the channel is listened to until the connection ends."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    async def ask(self) -> None:
        """Return when everything committed before the call was told. Raises `Unreachable`."""
        link = await self._connected()
        try:
            with translated(self._database.where):
                async with self._asking:
                    await link.execute("SELECT 1")
        except Unreachable:
            self._break(link)
            raise
        self._heard = self._clock.monotonic()

    @property
    def up(self) -> bool:
        """Whether notices are heard."""
        return self._up.is_set()

    async def _connected(self) -> "Apart":
        """The connection, or `Unreachable` if a try to connect fails from now on."""
        if self._database.closed:
            raise closed(self._database.where)
        if not self._up.is_set():
            self._tried.clear()
            await self._tried.wait()
        if self._link is None or not self._up.is_set():
            raise self._why or closed(self._database.where)
        return self._link

    async def _keep(self) -> None:
        tries = 0
        rng = random.Random()
        while not self._database.closed:
            try:
                await self._connect()
                tries = 0
                await self._stay()
            except (BusError, *_FAILURES) as error:
                self._why = error if isinstance(error, BusError) else self._why
            except BaseException:
                self._fall()
                raise
            self._fall()
            self._tried.set()
            if not self._database.closed:
                await self._clock.sleep(_AGAIN.delay(tries, rng))
            tries += 1

    async def _connect(self) -> None:
        self._link = link = await self._database.apart()
        self._channels = set()
        self._lost.clear()
        link.add_termination_listener(lambda _: self._lost.set())
        with translated(self._database.where):
            for channel in {each.channel for each in self._listeners}:
                await self._hear(link, channel)
        self._heard = self._clock.monotonic()
        self._up.set()
        self._tried.set()
        for each in [*self._listeners]:
            each.back()

    async def _stay(self) -> None:
        """Until the connection is lost: also one that says nothing."""
        while not self._lost.is_set():
            left = self._heard + BEAT - self._clock.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(left if left > 0 else BEAT):
                    await self._lost.wait()
            if self._lost.is_set() or not self._listeners:
                continue
            if self._clock.monotonic() >= self._heard + BEAT:
                await self.ask()
        self._why = DatabaseUnreachable(
            "the bus database cannot be reached",
            details=f"the PostgreSQL at {self._database.where} ended the connection",
            actions=("see that it runs: `muster doctor`", "check `bus.database`"),
            retry_after=1.0,
        )

    async def _hear_or_break(self, link: "Apart", channel: str) -> None:
        try:
            with translated(self._database.where):
                await self._hear(link, channel)
        except Unreachable:
            self._break(link)  # while nobody listened nobody asked whether it stands
            raise

    async def _hear(self, link: "Apart", channel: str) -> None:
        async with self._asking:
            if channel not in self._channels:
                await link.add_listener(channel, self._told)
                self._channels.add(channel)

    def _told(self, _link: Any, _pid: int, channel: str, payload: object) -> None:
        self._heard = self._clock.monotonic()
        for each in [*self._listeners]:
            if each.channel == channel:
                each.told(str(payload))

    def _break(self, link: "Apart") -> None:
        if link is self._link:
            self._lost.set()

    def _fall(self) -> None:
        link, self._link = self._link, None
        was_up = self._up.is_set()
        self._up.clear()
        if link is not None:
            link.terminate()
        if was_up:
            for each in [*self._listeners]:
                each.lost()

    def _end(self) -> None:
        self._why = closed(self._database.where)
        self._task.cancel()
        self._fall()
        self._tried.set()
        for each in [*self._listeners]:
            each.lost()
