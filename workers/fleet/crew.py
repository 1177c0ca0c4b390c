"""One machine's part of a fleet: it shares the seats of every role with the other machines.

Every machine sees the same entries and comes to the same shares (`shares`); it takes what is
missing of its own and lets go of what is too much. That it lives is one entry, renewed four times
a lease, however many seats it holds. Once that has lapsed, others take its seats.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Set
from contextlib import suppress
from dataclasses import replace

import structlog

from bus.errors import BusError
from bus.keyvalue import keys
from bus.keyvalue.protocol import Entry, KeyValue
from contracts.clock import Clock
from workers.fleet import machine
from workers.fleet.board import Board
from workers.fleet.demand import Demand, demands
from workers.fleet.errors import NotReady
from workers.fleet.machine import Machine, Process
from workers.fleet.seat import Seat, Spec, State
from workers.fleet.seating import Hall, Moves, by_role, moves
from workers.fleet.seats import Seats
from workers.fleet.shares import shares
from workers.fleet.supervisor import Supervisor

_log = structlog.get_logger("muster.crew")

LOOK = 1.0
"""Seconds after which a machine looks again, whatever it has heard."""

SETTLE = 1.0
"""Seconds for which a machine must have more than its share before it lets go: two machines may
see different things for a moment."""

DEAF = 6.0
"""Seconds without the store, a lease at least, before a machine asks its workers whether they hear
the bus: they say so themselves after five. Machines have as long to be heard again after it."""

_GOODBYE = 2.0
"""Seconds in which a machine that ends gives up its seats; else they lapse."""


class Crew:
    """Holds this machine's share of the seats from `run` until `stop`, one process for each.

    `specs`: how the process of each role is started that this machine has the code for. `me`
    says the same roles. `hears` tells whether a worker hears the bus, for when the store does not
    answer here: those that do are drained, for others run their seats by now; those that do not can
    start nothing either. For one event loop.
    """

    def __init__(
        self,
        store: KeyValue,
        clock: Clock,
        me: Machine,
        specs: Mapping[str, Spec],
        supervisor: Supervisor,
        *,
        lease: float,
        hears: Callable[[Seat], Awaitable[bool]],
        deaf: float = DEAF,
    ) -> None:
        self.board = Board(store, clock)
        self._store = store
        self._clock = clock
        self._me = me
        self._specs = specs
        self._supervisor = supervisor
        self._lease = lease
        self._hears = hears
        self._deaf = max(lease, deaf)
        self._seats = Seats(store, self.board, me.name)
        self._stopping = asyncio.Event()
        self._settled = asyncio.Event()
        self._news = asyncio.Event()
        self._signed = clock.monotonic()
        self._patient_until = self._signed
        self._surplus: dict[str, float] = {}

    @property
    def name(self) -> str:
        """This machine's."""
        return self._me.name

    async def run(self) -> None:
        """Take part until `stop`, then give up the seats; their processes are the supervisor's."""
        work = (self._sign_for_ever(), self._look_for_ever(), self._guard_for_ever())
        tasks = [asyncio.create_task(each) for each in (self.board.follow(), *work)]
        stop = asyncio.create_task(self._stopping.wait())
        try:
            done, _ = await asyncio.wait({stop, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (stop, *tasks):
                task.cancel()
            await asyncio.gather(stop, *tasks, return_exceptions=True)
            await self._leave()
        for task in done - {stop}:
            task.result()

    def stop(self) -> None:
        """Take no more part."""
        self._stopping.set()

    def changed(self) -> None:
        """Some process of ours is not what it was: the others are told."""
        self._news.set()

    async def ready(self, timeout: float = 60.0) -> None:
        """Return when this machine has its share and every process of it has been ready. Raises
        `NotReady` after `timeout` seconds."""
        until = self._clock.monotonic() + timeout
        try:
            async with asyncio.timeout(timeout):
                await self._settled.wait()
        except TimeoutError as error:
            raise NotReady(
                "this machine has not got its share of the fleet",
                details="the store does not answer, or other machines do not let go",
                actions=("see who runs what: `muster scale`",),
            ) from error
        await self._supervisor.ready(max(0.0, until - self._clock.monotonic()))

    async def _sign_for_ever(self) -> None:
        """Renew the sign of life, and tell news, but not more often than once a second."""
        while True:
            self._news.clear()
            with suppress(BusError):
                await self._sign()
            pause = asyncio.create_task(self._clock.sleep(self._lease / 4))
            news = asyncio.create_task(self._news.wait())
            try:
                await self._clock.sleep(min(1.0, self._lease / 4))
                await asyncio.wait({pause, news}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                pause.cancel()
                news.cancel()

    async def _sign(self) -> None:
        now = self._clock.monotonic()
        me = replace(self._me, at=self._clock.wall(), processes=self._processes())
        key, value = keys.machine(me.name), machine.encode(me)
        revision = await self._store.put(key, value, ttl=self._lease)
        if now - self._signed > self._lease:
            self._patient_until = self._clock.monotonic() + self._deaf
        self._signed = now
        self.board.put(Entry(key, value, revision))
        self.board.changed.set()

    def _processes(self) -> tuple[Process, ...]:
        numbers = self._seats.numbers()
        return tuple(
            Process(
                role=info.role,
                seat=numbers.get(id(keeper)),
                pid=info.pid,
                state=info.state,
                since=info.since,
                restarts=info.restarts,
                exit_code=info.exit_code,
                again_at=info.again_at,
            )
            for keeper in self._supervisor.seats()
            for info in (keeper.info,)
        )

    async def _look_for_ever(self) -> None:
        await self.board.complete()
        while True:
            self.board.changed.clear()
            try:
                await self._look()
            except BusError as error:
                _log.debug("cannot change seats; trying again", error=str(error))
            pause = asyncio.create_task(self._clock.sleep(LOOK))
            news = asyncio.create_task(self.board.changed.wait())
            try:
                await asyncio.wait({pause, news}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                pause.cancel()
                news.cancel()

    async def _look(self) -> None:
        """Compare what is held with our share, and do something about it. When the store was away,
        the others have time to show themselves again before their seats are taken."""
        await self._seats.check()
        machines = self.board.machines()
        living = {one.name for one in machines}
        if self.name not in living:
            return
        wanted = demands(machines, self.board.wishes())
        patient = self._clock.monotonic() < self._patient_until
        await self._clear(wanted, living, oldest=not patient and machines[0].name == self.name)
        holders = {place: entry.value.decode() for place, entry in self.board.seats().items()}
        taken = by_role({p: who for p, who in holders.items() if patient or who in living})
        share = shares(wanted, machines, {r: Counter(held.values()) for r, held in taken.items()})
        for role in self._specs:
            hall = Hall(wanted[role].total, set(taken.get(role, ())), self._seats.of(role))
            plan = moves(hall, share[role].get(self.name, 0), settled=self._has_lasted(role))
            self._note_surplus(role, lasts=plan.surplus)
            await self._do(role, plan)
        mine = Counter(role for role, _ in self._seats.held())
        if all(mine[role] == share[role].get(self.name, 0) for role in self._specs):
            self._settled.set()

    async def _clear(self, wanted: Mapping[str, Demand], living: Set[str], *, oldest: bool) -> None:
        """The oldest machine clears away what dead ones have left beyond what is wanted."""

        def left(role: str, number: int, holder: str) -> bool:
            beyond = role not in wanted or number >= wanted[role].total
            return oldest and beyond and holder not in living

        found = []
        for place, entry in self.board.seats().items():
            holder = entry.value.decode(errors="replace")
            if holder == self.name or left(*place, holder):
                found.append((place, entry))
        await self._seats.forget(found)

    def _has_lasted(self, role: str) -> bool:
        since = self._surplus.get(role)
        return since is not None and self._clock.monotonic() - since >= SETTLE

    def _note_surplus(self, role: str, *, lasts: bool) -> None:
        if not lasts:
            self._surplus.pop(role, None)
        else:
            self._surplus.setdefault(role, self._clock.monotonic())

    async def _do(self, role: str, plan: Moves) -> None:
        def start() -> Seat:
            return self._supervisor.add(self._specs[role])

        for number in plan.give:
            await self._seats.give((role, number))
        for old, new in plan.renumber:
            await self._seats.move(role, old, new)
        await asyncio.gather(*(self._seats.take((role, number), start) for number in plan.take))

    async def _guard_for_ever(self) -> None:
        """Once the store has not answered for longer than our sign of life lasts, others may run
        our seats. Those of our workers that still hear the bus would double them."""
        silence = 0.0
        while True:
            before, signed = self._clock.monotonic(), self._signed
            await self._clock.sleep(LOOK)
            ran = min(self._clock.monotonic() - before, 2 * LOOK)  # a stopped process hears nobody
            silence = silence + ran if self._signed == signed else 0.0
            if silence <= self._deaf:
                continue
            held = self._seats.held().items()
            ready = [(place, h.keeper) for place, h in held if h.keeper.info.state is State.READY]
            hear = await asyncio.gather(*(self._hears(keeper) for _, keeper in ready))
            for (place, _), hears in zip(ready, hear, strict=True):
                if hears:
                    _log.warning("cut off: a worker that hears the bus drains", role=place[0])
                    self._seats.drain(place)

    async def _leave(self) -> None:
        with suppress(BusError, TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                await self._seats.leave()
                await self._store.delete(keys.machine(self.name))
