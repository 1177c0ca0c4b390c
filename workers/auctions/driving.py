"""Does what the steps of an auction ask for: on the bus, in its key-value store, in the ledger."""

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from pydantic_core import from_json, to_json

from bus.backend import Delivery, Message
from bus.bus import Bus
from bus.errors import BusError, Conflict, TooLarge, Unroutable
from bus.keyvalue.keys import DAY
from bus.keyvalue.protocol import ABSENT
from bus.patience import Patience
from bus.settling import Finished, Policy
from consensus.ledger.commands import Adopt, Cancel, Complete, Open, Release, Renew
from contracts.auctions import Auction, AuctionError, Won
from contracts.clock import Clock
from contracts.envelope import Envelope
from contracts.outcomes import Cancelled, Outcome, Reject
from workers.auctions import deeds, outcome
from workers.auctions.deeds import Deed, Returned, Step
from workers.auctions.ledger import Ledger, LedgerAway
from workers.auctions.marks import Mark, marked
from workers.auctions.steps import outcomes_at
from workers.auctions.telling import Teller
from workers.engine.identity import Identity
from workers.engine.steps import allowed

_log = structlog.get_logger("muster.auctions")

KEPT = 30 * DAY
"""Seconds that a body or an outcome lies in the store at most: what a crash leaves there does not
stay for ever, and no fleet is away for that long."""

FOLLOW_UPS_HOLD = DAY
"""Seconds within which a follow-up that is published again is known."""

Runner = Callable[[Won, bytes], Awaitable[bytes | Returned | None]]


@dataclass(slots=True)
class Case:
    """What a step is about. `delivery` and `task`: what was pulled, if it began with that. `body`
    of the task, once known. `run` does what `deeds.Run` asks for."""

    delivery: Delivery | None = None
    task: Envelope | None = None
    body: bytes = b""
    run: Runner | None = None


class Driver:
    """Drives deeds. What is away is waited for as `Patience` has it; then its error ends the
    step, wherever it is."""

    def __init__(
        self, bus: Bus, ledger: Ledger, clock: Clock, who: Identity, *, teller: Teller
    ) -> None:
        self._bus = bus
        self._ledger = ledger
        self._clock = clock
        self._who = who
        self._teller = teller
        self._persist = Patience(clock, random.Random()).persist

    async def drive(self, step: Step, case: Case) -> bool:
        """Do `step` to its end. Raises `LedgerAway` and `BusError`."""
        go_on: Callable[[], Deed] = partial(next, step)
        while True:
            try:
                deed = go_on()
            except StopIteration as end:
                return bool(end.value)
            try:
                go_on = partial(step.send, await self.do(deed, case))
            except (AuctionError, LedgerAway, BusError) as error:
                go_on = partial(step.throw, error)

    async def do(self, deed: Deed, case: Case) -> Any:
        """Do one thing; what came of it."""
        match deed:
            case deeds.Say(command=command):
                return await self._say(command)
            case deeds.See(key=key):
                return await self._see(key, case)
            case deeds.Run(won=won, body=body):
                case.body = task_body(body)
                return await case.run(won, body) if case.run is not None else None
            case deeds.Publish(outcome=data):
                return await self._publish(outcome.read(data, case.body))
            case deeds.Get() | deeds.Put() | deeds.PutNew() | deeds.Delete() | deeds.Sweep():
                return await self._persist(partial(self._store, deed))
            case _:
                return await self._end_of(deed, case)

    async def _see(self, key: str, case: Case) -> Auction | None:
        auction = await self._ledger.read(key)
        if auction is not None and case.task is not None:
            self._teller.seen(auction, case.task)
        return auction

    async def _store(self, deed: deeds.Stored) -> bytes | None:
        store = self._bus.store
        match deed:
            case deeds.Get(key=key):
                entry = await store.get(key)
                return entry.value if entry is not None else None
            case deeds.Put(key=key, value=value):
                await store.put(key, value, ttl=KEPT)
            case deeds.PutNew(key=key, value=value):
                return await self._put_new(key, value)
            case deeds.Delete(key=key):
                await store.delete(key)
            case deeds.Sweep(key=key):
                for left in await store.list(outcomes_at(key)):
                    await store.delete(left.key)
        return None

    async def _put_new(self, key: str, value: bytes) -> bytes | None:
        """What was there, or None. An entry that goes meanwhile is put again."""
        while True:
            try:
                await self._bus.store.put(key, value, ttl=KEPT, expect=ABSENT)
            except Conflict:
                entry = await self._bus.store.get(key)
                if entry is not None:
                    return entry.value
            else:
                return None

    async def _say(self, command: Open | Renew | Complete | Adopt | Release | Cancel) -> object:
        say = self._ledger
        match command:
            case Open(key=key):
                return await say.open_auction(
                    key,
                    command.role,
                    window_ms=command.window_ms,
                    lease_ms=command.lease_ms,
                    max_awards=command.max_awards,
                    spec_hash=command.spec_hash,
                )
            case Renew(key=key, token=token):
                return await say.renew(key, token)
            case Complete(key=key, token=token, result_hash=digest):
                return await say.complete(key, token, digest)
            case Adopt(key=key, token=token, result_hash=digest):
                return await say.adopt(key, token, digest)
            case Release(key=key, token=token):
                return await say.release(key, token)
            case Cancel(key=key):
                return await say.cancel(key)

    async def _publish(self, ended: outcome.Ended) -> None:
        """First what the run has published, then its own end: who hears of that can find it."""
        for one in ended.follow_ups:
            await self._follow_up(one)
        task = ended.finished.task
        if task is not None:
            await self._bus.endings.leave(outcome.plan_of(ended), task)

    async def _follow_up(self, one: outcome.FollowUp) -> None:
        try:
            hold = FOLLOW_UPS_HOLD
            await self._bus.publish([one.task], due=one.due, hold=hold, follow_up=True)
        except (Unroutable, TooLarge) as error:
            _log.error("a follow-up cannot be published", task=one.task.id, error=str(error))

    async def _end_of(self, deed: Deed, case: Case) -> bool:
        """What becomes of the delivery; False when it was no longer ours."""
        delivery, task = case.delivery, case.task
        if delivery is None or task is None:
            raise TypeError(f"{type(deed).__name__} without a delivery")
        match deed:
            case deeds.Watch(key=key, after=after):
                copy = marked(task, Mark(key, opened=True))
                due = self._clock.wall() + after
                return await self._bus.hand_back(delivery, copy, due=due)
            case deeds.Forget():
                return await self._bus.forget(delivery)
            case deeds.Bury(reason=reason, text=text):
                return await self._settle(delivery, task, Reject(text, reason))
            case _:
                stop = self._bus.stop_view.stopped(task, delivery.group)
                late = allowed(task, self._clock.wall())
                over = stop or late or Cancelled("its auction was cancelled")
                return await self._settle(delivery, task, over)

    async def _settle(self, delivery: Delivery, task: Envelope, what: Outcome) -> bool:
        now = self._clock.wall()
        finished = Finished(
            delivery=delivery,
            task=task,
            outcome=what,
            policy=Policy(),
            worker=self._who.name,
            pid=self._who.pid,
            started=now,
            ended=now,
        )
        return await self._bus.settle(finished) is not None


def stored(message: Message) -> bytes:
    """A task as it lies in the store while it is auctioned: its headers in a line, its body."""
    return to_json(dict(message.headers)) + b"\n" + message.body


def task_headers(data: bytes) -> Mapping[str, str]:
    """The headers in what is stored."""
    found: dict[str, str] = from_json(data.partition(b"\n")[0])
    return found


def task_body(data: bytes) -> bytes:
    """The body in what is stored."""
    return data.partition(b"\n")[2]
