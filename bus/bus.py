"""The bus: puts the rooms together and has no policy of its own."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from bus.announcing import Announcer
from bus.backend import (
    HIGH,
    LOW,
    NORMAL,
    RETRY,
    Backend,
    Delivery,
    Lane,
    Message,
)
from bus.backoff import Backoff
from bus.batching import Batcher
from bus.crashes import CrashCounter
from bus.deadletters import DeadLetters
from bus.errors import BusError, Full, TooLarge, Unreachable, Unroutable
from bus.keyvalue.protocol import KeyValue
from bus.outcomes import Outcomes
from bus.settling import Finished, Plan, hand_back, plan, to_message
from bus.sizes import check_sizes
from bus.suspects import Blame
from contracts.clock import Clock
from contracts.envelope import Envelope
from contracts.events import TERMINAL, Event
from contracts.outcomes import Reject
from contracts.results import Result

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds a publish waits under back-pressure before it raises its retryable error."""

_AGAIN = Backoff(base=0.05, cap=1.0)


@dataclass(frozen=True, slots=True)
class _Settle:
    """One input to forget and what must exist afterwards."""

    delivery: Delivery
    plan: Plan


class Bus:
    """Publish, pull and settle tasks, with what belongs to them: dead letters and outcomes.

    Give it a backend and a store on the same broker; `close` closes both, then calls `release`
    for what they share.
    """

    def __init__(
        self,
        backend: Backend,
        store: KeyValue,
        *,
        clock: Clock,
        source: str = "/muster",
        rng: random.Random | None = None,
        release: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.store = store
        self.dead = DeadLetters(store, backend)
        self.outcomes = Outcomes(store)
        self._backend = backend
        self._clock = clock
        self._release = release
        self._announcer = Announcer(self._send_unasked, clock, source)
        self._rng = rng or random.Random()
        self.crashes = CrashCounter(self.known, self.settle, store, clock)
        blames = (Unroutable, TooLarge)
        self._publishing = Batcher(self._send, blames=blames, lanes=2)
        self._settling = Batcher(self._settle_batch, limit=500, lanes=2)

    async def bind(self, group: str, patterns: Sequence[str]) -> None:
        """Route what matches `patterns` to `group` from now on; see `Backend.bind`."""
        await self._backend.bind(group, patterns)

    async def unbind(self, group: str, *, drop: bool = False) -> None:
        """Retire a group; see `Backend.unbind`."""
        await self._backend.unbind(group, drop=drop)

    async def publish(
        self, tasks: Sequence[Envelope], *, group: str | None = None, due: float = 0.0
    ) -> None:
        """Return when every task is safe on the broker; see `Backend.publish`.

        With `group` they go to that group only. Back-pressure and a broker that is away are
        waited out for `PATIENCE` seconds under the same dedupe keys; then `Full` or
        `Unreachable` is raised.
        """
        due = due if due > self._clock.wall() else 0.0
        messages = [to_message(task, group=group, due=due) for task in tasks]
        check_sizes(messages, room=_ROOM)
        await self._persist(lambda: self._publishing.ask(messages))

    def tell(self, event: Event) -> None:
        """Send an event soon, together with others; nobody may be listening."""
        self._announcer.tell(event)

    async def pull(
        self,
        group: str,
        *,
        free: int,
        ahead: int = 0,
        wait: float = 10.0,
        blame: Blame | None = None,
    ) -> list[Delivery]:
        """Up to `free` deliveries to start now; with `free` 0, `ahead` of them to start soon.

        Read ahead are only first copies: what comes back is pulled for free places only.
        Waits up to `wait` seconds for the first. One call of the backend, so that nothing is
        half-owned when it is cancelled. Raises what `Backend.pull` raises.

        With `blame`, a task that comes back from a crash is not among them: its attempt is
        counted beside this call, and it comes again as a suspect or is a dead letter.
        """
        lanes, limit = (_ORDER, free) if free else (_FIRST_COPIES, ahead)
        found = await self._backend.pull(group, lanes, limit=limit, wait=wait)
        return found if blame is None else self.crashes.sift(found, blame)

    async def known(self, delivery: Delivery, task: Envelope) -> Result | None:
        """The outcome of `task` if it is there already: an earlier run may have ended just
        before it could settle. Asks the store only where there can have been one. Another
        group's outcome of the same task says nothing about this one."""
        if task.reply is None or not (delivery.earlier or task.copy):
            return None
        found = await self.outcomes.get(task.reply, task.id)
        return found if found is not None and found.role == delivery.group else None

    async def settle(self, finished: Finished) -> Plan | None:
        """Make safe what must exist after this run, then forget its input.

        Returns what was done, or None when the delivery was no longer ours: then its result
        was not accepted. A broker that is away is waited for as long as the lease can last. A
        next copy that is too large to send is a dead letter.
        """
        settlement = plan(finished, self._rng)
        await self._keep(finished, settlement)
        try:
            lost = await self._forget(finished.delivery, settlement)
        except TooLarge as error:
            if not settlement.then:
                raise
            refused = Reject("its next copy cannot be sent", error=str(error))
            return await self.settle(replace(finished, outcome=refused))
        if lost:
            return None
        self.crashes.end(finished)
        return settlement

    async def forget(self, delivery: Delivery) -> bool:
        """Settle a delivery that leaves nothing behind; False when it was no longer ours."""
        return not await self._forget(delivery, Plan())

    async def hand_back(self, delivery: Delivery, task: Envelope | None) -> bool:
        """Give a task back unrun or unfinished: available at once, no attempt used.

        False when it was no longer ours to give.
        """
        return not await self._forget(delivery, Plan(then=(hand_back(delivery, task),)))

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Renew leases; returns those that were no longer ours."""
        return await self._backend.extend(deliveries)

    async def lag(self, group: str) -> dict[Lane, object]:
        """What lies in each lane of a group; see `Backend.lag`."""
        return dict(await self._backend.lag(group))

    async def close(self) -> None:
        """Finish what was asked, then let go of the broker."""
        await self.crashes.close()
        await self._publishing.close()
        await self._settling.close()
        await self._announcer.close()
        await self.store.close()
        await self._backend.close()
        if self._release is not None:
            await self._release()

    async def _keep(self, finished: Finished, settlement: Plan) -> None:
        """Put what outlives the input: first what is dead, then what somebody asked for."""
        dead, result = settlement.dead, settlement.result
        if dead is not None:
            await self._persist(lambda: self.dead.put(dead))
        if result is not None and finished.task is not None:
            reply = finished.task.reply or ""
            await self._persist(lambda: self.outcomes.put(reply, result))

    async def _forget(self, delivery: Delivery, settlement: Plan) -> bool:
        item = [_Settle(delivery, settlement)]

        async def ask() -> bool:
            end = (await self._settling.ask(item))[0]
            if isinstance(end, BaseException):
                raise end
            return end

        return await self._persist(ask)

    async def _send(self, messages: Sequence[Message]) -> Sequence[None]:
        await self._backend.publish(messages)
        return [None] * len(messages)

    async def _settle_batch(self, items: Sequence[_Settle]) -> Sequence[bool | BaseException]:
        """Settle joined inputs; their terminal events are one message of `then`.

        An input that leaves something behind is settled in a call of its own: were it no longer
        ours, nothing of it may be sent. Each input's answer is whether it was lost, or its own
        error: nobody settles twice because another could not.
        """
        plain = [item for item in items if not item.plan.then]
        own = [[item] for item in items if item.plan.then]
        groups = [plain, *own] if plain else own
        ends: dict[int, bool | BaseException] = {}
        found = await asyncio.gather(*map(self._settle_group, groups), return_exceptions=True)
        for group, end in zip(groups, found, strict=True):
            if isinstance(end, BaseException):
                ends.update((id(item), end) for item in group)
            else:
                lost = set(map(id, end))
                ends.update((id(item), id(item.delivery) in lost) for item in group)
        return [ends[id(item)] for item in items]

    async def _settle_group(self, items: Sequence[_Settle]) -> list[Delivery]:
        events = [item.plan.event for item in items if item.plan.event is not None]
        terminal = [event for event in events if event.kind in TERMINAL]
        untold = self._announcer.take() if terminal else []
        then = [message for item in items for message in item.plan.then]
        then += self._announcer.messages([*untold, *terminal])
        deliveries = [item.delivery for item in items]
        try:
            lost = await self._backend.settle(deliveries, then=then)
        except BusError:
            self._tell_all(untold)
            raise
        if len(lost) == len(deliveries):
            self._tell_all(untold)
        elif not lost:
            self._tell_all(event for event in events if event.kind not in TERMINAL)
        return lost

    def _tell_all(self, events: Iterable[Event]) -> None:
        for event in events:
            self._announcer.tell(event)

    async def _send_unasked(self, messages: Sequence[Message]) -> None:
        await self._backend.settle((), then=messages)

    async def _persist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat `call` while the broker is away or full, for `PATIENCE` seconds at most."""
        until = self._clock.monotonic() + PATIENCE
        tries = 0
        while True:
            try:
                return await call()
            except (Unreachable, Full):
                wait = _AGAIN.delay(tries, self._rng)
                if self._clock.monotonic() + wait > until:
                    raise
            tries += 1
            await self._clock.sleep(wait)


_ROOM = 200
"""Bytes that later copies of a task add to its headers: copy, attempt, replays."""

_ORDER = (HIGH, RETRY, NORMAL, LOW)
_FIRST_COPIES = (HIGH, NORMAL, LOW)
