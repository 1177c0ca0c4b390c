"""One world per implementation, so that one suite holds all of them to the same promises.

A test gets a world of its own fleet. Each `backend()` is a new connection, as of another
process. Waiting is for events with a deadline (`within`): by the clock's hand on memory, in
real time on a broker.
"""

import asyncio
import uuid
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from typing_extensions import override

from bus.backend import Backend
from bus.backends.memory import MemoryBackend, MemoryBroker
from bus.keyvalue.memory import MemoryKeyValue
from bus.keyvalue.protocol import KeyValue
from contracts.clock import Clock, ManualClock
from tests.bus.conformance.members import Member, Remote

T = TypeVar("T")

LEASE = 1.5
"""Seconds; short, and long enough for a busy machine."""

_STEP = 0.05


class World(ABC):
    """A broker, a fleet on it, and time."""

    clock: Clock
    lease = LEASE
    slices = 1
    """Into how many each lane is cut."""

    def __init__(self, *, max_bytes: int | None = None) -> None:
        self.max_bytes = max_bytes
        self.fleet = f"t{uuid.uuid4().hex[:12]}"
        self._open: list[Backend | KeyValue] = []
        self._members: list[Remote] = []

    async def backend(self) -> Backend:
        """A new connection."""
        backend = await self._connect()
        self._open.append(backend)
        return backend

    def cut(self, slices: int) -> None:
        """Cut the lanes of groups bound from now on, by connections made from now on."""
        self.slices = slices

    async def keyvalue(self) -> KeyValue:
        """A new connection to the store of the fleet."""
        store = await self._connect_store()
        self._open.append(store)
        return store

    async def member(self) -> Remote:
        """A new process that can hold messages and die."""
        member = await self._start_member()
        self._members.append(member)
        return member

    async def close(self) -> None:
        """End every connection and process of the test."""
        for member in self._members:
            await member.kill()
        for connection in self._open:
            await connection.close()

    @abstractmethod
    def neighbour(self) -> "World":
        """Another fleet on the same broker."""

    @abstractmethod
    async def within(self, seconds: float, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, while time passes; the test fails if that takes longer."""

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Let `seconds` go by: for what must *not* happen meanwhile."""

    @abstractmethod
    async def stop_broker(self, *, kill: bool) -> None:
        """End the broker, with SIGKILL or in good order; it keeps what is on its disk."""

    @abstractmethod
    async def start_broker(self) -> None:
        """Start it again where it was."""

    @abstractmethod
    async def freeze_broker(self) -> None:
        """Make it hang: it keeps its connections and answers nothing."""

    @abstractmethod
    async def thaw_broker(self) -> None:
        """Let it go on."""

    async def stop_store(self, *, kill: bool) -> None:
        """End what the key-value store lies on: the broker, or the database beside it."""
        await self.stop_broker(kill=kill)

    async def start_store(self) -> None:
        """Start it again where it was."""
        await self.start_broker()

    async def freeze_store(self) -> None:
        """Make it hang."""
        await self.freeze_broker()

    async def thaw_store(self) -> None:
        """Let it go on."""
        await self.thaw_broker()

    async def kill_store(self) -> None:
        """SIGKILL, then a new start on the same port and folder."""
        await self.stop_store(kill=True)
        await self.start_store()

    @abstractmethod
    async def cut_off(self, *, silently: bool) -> None:
        """Cut the network between all connections and the broker; silently: nobody is told."""

    @abstractmethod
    async def reconnect(self) -> None:
        """Mend the network."""

    async def kill_broker(self) -> None:
        """SIGKILL, then a new start on the same port and folder."""
        await self.stop_broker(kill=True)
        await self.start_broker()

    @abstractmethod
    async def _connect(self) -> Backend: ...

    @abstractmethod
    async def _connect_store(self) -> KeyValue: ...

    @abstractmethod
    async def _start_member(self) -> Remote: ...


class MemoryWorld(World):
    """A broker in this process and a clock that moves when told to."""

    clock: ManualClock

    def __init__(self, *, max_bytes: int | None = None) -> None:
        super().__init__(max_bytes=max_bytes)
        self.clock = ManualClock()
        self.broker = self.make_broker()

    def make_broker(self) -> MemoryBroker:
        """The broker under test."""
        return MemoryBroker(
            self.clock, lease=self.lease, slices=self.slices, max_bytes=self.max_bytes
        )

    @override
    def cut(self, slices: int) -> None:
        self.slices = self.broker.slices = slices

    @override
    def neighbour(self) -> World:
        return MemoryWorld()

    @override
    async def within(self, seconds: float, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.ensure_future(work)
        end = self.clock.monotonic() + seconds
        await self.clock.advance(0)
        while not task.done() and self.clock.monotonic() < end:
            await self.clock.advance(_STEP)
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
            pytest.fail(f"not within {seconds:g} s of the clock")
        return task.result()

    @override
    async def pass_time(self, seconds: float) -> None:
        await self.clock.advance(seconds)

    @override
    async def stop_broker(self, *, kill: bool) -> None:
        self.broker.outage()

    @override
    async def start_broker(self) -> None:
        self.broker.restore()

    @override
    async def freeze_broker(self) -> None:
        self.broker.outage()

    @override
    async def thaw_broker(self) -> None:
        self.broker.restore()

    @override
    async def cut_off(self, *, silently: bool) -> None:
        self.broker.outage()

    @override
    async def reconnect(self) -> None:
        self.broker.restore()

    @override
    async def _connect(self) -> Backend:
        return MemoryBackend(self.broker)

    @override
    async def _connect_store(self) -> KeyValue:
        return MemoryKeyValue(self.broker.store)

    @override
    async def _start_member(self) -> Remote:
        return _MemoryMember(self)


class _MemoryMember(Member):
    def __init__(self, world: MemoryWorld) -> None:
        self._connection = MemoryBackend(world.broker)
        self._broker = world.broker
        super().__init__(self._connection, world.clock, world.lease)

    async def kill(self) -> None:
        self.halt()
        self._broker.crash(self._connection)

    def freeze(self) -> None:
        self.halt()

    def thaw(self) -> None:
        self.resume()
