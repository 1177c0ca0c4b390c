"""The bus: puts the rooms together and has no policy of its own."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bus.backend import (
    HIGH,
    LOW,
    MAX_BODY,
    MAX_HEADERS,
    NORMAL,
    RETRY,
    Backend,
    Delivery,
    Lane,
    Message,
)
from bus.announcing import Announcer
from bus.backoff import Backoff
from bus.batching import Batcher
from bus.deadletters import DeadLetters
from bus.errors import Full, TooLarge, Unreachable, Unroutable
from bus.keyvalue.protocol import KeyValue
from bus.outcomes import Outcomes
from bus.settling import Finished, Plan, hand_back, plan, to_message
from contracts.clock import Clock
from contracts.envelope import Envelope
from contracts.events import TERMINAL, Event
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

    Give it a backend and a store on the same broker; it closes both.
    """

    def __init__(
        self,
        backend: Backend,
        store: KeyValue,
        *,
        clock: Clock,
        source: str = "/muster",
        rng: random.Random | None = None,
    ) -> None:
        self.store = store
        self.dead = DeadLetters(store, backend)
        self.outcomes = Outcomes(store)
        self._backend = backend
        self._clock = clock
        self._announcer = Announcer(self._send_unasked, clock, source)
        self._rng = rng or random.Random()
        blames = (Unroutable, TooLarge)
        self._publishing = Batcher(self._send, blames=blames, lanes=2)
        self._settling = Batcher(self._settle_batch, limit=500, lanes=2, blames=(TooLarge,))

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
        for message in messages:
            _check_size(message)
        await self._persist(lambda: self._publishing.ask(messages))

    def tell(self, event: Event) -> None:
        """Send an event soon, together with others; nobody may be listening."""
        self._announcer.tell(event)

    async def pull(
        self, group: str, *, free: int, ahead: int = 0, wait: float = 10.0
    ) -> list[Delivery]:
        """Up to `free` deliveries to start now and `ahead` more to start soon.

        Read ahead are only first copies: what comes back is pulled for free places only.
        Waits up to `wait` seconds for the first. Raises what `Backend.pull` raises.
        """
        found: list[Delivery] = []
        if free:
            found = await self._backend.pull(group, _ORDER, limit=free, wait=wait)
        if ahead and len(found) == free:
            found += await self._backend.pull(group, _FIRST_COPIES, limit=ahead, wait=0.0)
        return found

    async def known(self, delivery: Delivery, task: Envelope) -> Result | None:
        """The outcome of `task` if it is there already: an earlier run may have ended just
        before it could settle. Asks the store only where there can have been one."""
        if task.reply is None or not (delivery.earlier or task.copy):
            return None
        return await self.outcomes.get(task.reply, task.id)

    async def settle(self, finished: Finished) -> Plan | None:
        """Make safe what must exist after this run, then forget its input.

        Returns what was done, or None when the delivery was no longer ours: then its result
        was not accepted. A broker that is away is waited for as long as the lease can last.
        """
        settlement = plan(finished, self._rng)
        await self._keep(finished, settlement)
        lost = await self._forget(finished.delivery, settlement)
        return None if lost else settlement

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
        await self._publishing.close()
        await self._settling.close()
        await self._announcer.close()
        await self.store.close()
        await self._backend.close()

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
        return (await self._persist(lambda: self._settling.ask(item)))[0]

    async def _send(self, messages: Sequence[Message]) -> Sequence[None]:
        await self._backend.publish(messages)
        return [None] * len(messages)

    async def _settle_batch(self, items: Sequence[_Settle]) -> Sequence[bool]:
        """Settle joined inputs; their terminal events are one message of `then`.

        An input that leaves something behind is settled in a call of its own: were it no longer
        ours, nothing of it may be sent.
        """
        plain = [item for item in items if not item.plan.then]
        own = [[item] for item in items if item.plan.then]
        groups = [plain, *own] if plain else own
        lost: set[int] = set()
        for found in await asyncio.gather(*map(self._settle_group, groups)):
            lost.update(map(id, found))
        return [id(item.delivery) in lost for item in items]

    async def _settle_group(self, items: Sequence[_Settle]) -> list[Delivery]:
        events = [item.plan.event for item in items if item.plan.event is not None]
        terminal = [event for event in events if event.kind in TERMINAL]
        then = [message for item in items for message in item.plan.then]
        if terminal:
            then += self._announcer.take(terminal)
        lost = await self._backend.settle([item.delivery for item in items], then=then)
        if not lost:
            for event in events:
                if event.kind not in TERMINAL:
                    self._announcer.tell(event)
        return lost

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


_ORDER = (HIGH, RETRY, NORMAL, LOW)
_FIRST_COPIES = (HIGH, NORMAL, LOW)


def _check_size(message: Message) -> None:
    size = len(message.body)
    if size > MAX_BODY:
        raise TooLarge(
            f"the body of {message.id} has {size:,} bytes, more than {MAX_BODY:,}",
            details="muster has no hidden blob store: a task carries what it says",
            actions=("put the data where workers can read it and publish its address",),
        )
    headers = sum(len(name) + len(value) for name, value in message.headers.items())
    if headers > MAX_HEADERS:
        raise TooLarge(
            f"the headers of {message.id} have {headers:,} bytes, more than {MAX_HEADERS:,}",
            details="subjects, correlation and foreign headers count",
            actions=("move data from the headers into the body",),
        )
