"""Awards of this process: each a run of the worker's loop, with an end that the ledger accepts."""

import asyncio
import random
from dataclasses import replace

from bus.backend import MAX_BODY, Delivery, Message
from bus.bus import Bus
from bus.errors import TooLarge
from bus.keyvalue.protocol import MAX_VALUE
from bus.settling import Finished, Plan, to_message
from bus.sizes import check_sizes
from contracts.auctions import Won
from contracts.envelope import Envelope, decode, encode
from contracts.outcomes import Done, Reject
from workers.auctions.deeds import RETURNED, Returned
from workers.auctions.driving import task_body, task_headers
from workers.auctions.experience import Experience
from workers.auctions.marks import BLOCK, run_copy
from workers.auctions.outcome import Ended, FollowUp, plan_of, resolved, written
from workers.engine.keeper import Keeper
from workers.engine.seams import Keeps

MAX_FOLLOW_UPS = 400 * 1024
"""Bytes that a run may publish in all: it is kept with its outcome until that counts."""


class Award:
    """One award. Its delivery is the worker's to run, and is no delivery of the bus. `live` until
    it is known to be lost, or over."""

    def __init__(self, won: Won, stored: bytes, round_: int) -> None:
        self.won = won
        self.live = True
        self.follow_ups: list[FollowUp] = []
        task = decode(task_headers(stored), task_body(stored))
        self.delivery = _delivery(task, won, round_)
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[bytes | Returned | None] = loop.create_future()
        self._accepted: asyncio.Future[bool] = loop.create_future()
        self.renewing: asyncio.Task[None] | None = None
        self._size = 0

    def keep(self, task: Envelope, due: float) -> None:
        """Take what the run publishes, until its end counts. Raises `TooLarge`."""
        check_sizes([to_message(task, group=None)])
        self._size += len(task.body)
        if self._size > MAX_FOLLOW_UPS:
            raise TooLarge(
                f"an auctioned run may publish {MAX_FOLLOW_UPS:,} bytes",
                details="what it publishes is kept with its outcome until that counts",
                actions=("publish addresses of large data", "or let ctx.call do the rest"),
            )
        self.follow_ups.append(FollowUp(task, due))

    async def end(self, outcome: bytes | Returned) -> bool:
        """The run is over; whether that was accepted. Raises what the rest of its step does."""
        if not self.ended.done():
            self.ended.set_result(outcome)
        return await asyncio.shield(self._accepted)

    def lose(self) -> None:
        """Somebody else may have it."""
        self.live = False
        if not self.ended.done():
            self.ended.set_result(None)

    def close(self, *, accepted: bool, error: BaseException | None = None) -> None:
        """Its step is over."""
        self.live = False
        if self.renewing is not None:
            self.renewing.cancel()
        if self._accepted.done():
            return
        if error is None or not self.ended.done():
            self._accepted.set_result(accepted)
        else:
            self._accepted.set_exception(error)
            self._accepted.exception()


class Awards:
    """Those of one role in one process, from when they are sure until their steps are over."""

    def __init__(self) -> None:
        self._of: dict[int, Award] = {}

    def __len__(self) -> int:
        return len(self._of)

    def add(self, award: Award) -> None:
        """It is sure."""
        self._of[id(award.delivery)] = award

    def remove(self, award: Award) -> None:
        """Its step is over."""
        del self._of[id(award.delivery)]

    def of(self, delivery: Delivery) -> Award | None:
        """The award that this delivery stands for; None if it is the bus's."""
        return self._of.get(id(delivery))

    def all(self) -> list[Award]:
        """Each of them."""
        return list(self._of.values())


class AwardEnds:
    """Implements `workers.engine.seams.Ends`: what was awarded ends in the ledger, the rest on the
    bus."""

    def __init__(
        self, awards: Awards, bus: Bus, experience: Experience, rng: random.Random
    ) -> None:
        self._awards = awards
        self._bus = bus
        self._experience = experience
        self._rng = rng

    async def settle(self, finished: Finished) -> Plan | None:
        """As `Bus.settle`: None where the end is not accepted."""
        award = self._awards.of(finished.delivery)
        if award is None:
            return await self._bus.settle(finished)
        ended = _ended(resolved(finished, self._rng), award)
        if not await award.end(written(ended)):
            return None
        self._bus.crashes.end(finished)
        self._learn(finished, succeeded=isinstance(finished.outcome, Done))
        return plan_of(ended)

    async def hand_back(self, delivery: Delivery, task: Envelope | None) -> bool:
        """As `Bus.hand_back`: an award is released."""
        award = self._awards.of(delivery)
        if award is None:
            return await self._bus.hand_back(delivery, task)
        return await award.end(RETURNED)

    def keeps(self, delivery: Delivery) -> Keeps | None:
        """The award keeps what its run publishes."""
        award = self._awards.of(delivery)
        return None if award is None else award.keep

    def _learn(self, finished: Finished, *, succeeded: bool) -> None:
        topic, seconds = finished.delivery.message.topic, finished.ended - finished.started
        self._experience.add(topic, succeeded=succeeded, seconds=max(0.0, seconds))


class AwardLeases:
    """Implements `workers.engine.seams.Leases`: an award is ours until it is known to be lost."""

    def __init__(self, awards: Awards, keeper: Keeper) -> None:
        self._awards = awards
        self._keeper = keeper

    def holds(self, delivery: Delivery) -> bool:
        """Whether it is still ours."""
        award = self._awards.of(delivery)
        return self._keeper.holds(delivery) if award is None else award.live

    def release(self, delivery: Delivery) -> None:
        """An award is over with its step."""
        self._keeper.release(delivery)


def _ended(finished: Finished, award: Award) -> Ended:
    """What fits into one entry: a result that does not, with what was published, is refused."""
    ended = Ended(finished=finished, token=award.won.token, follow_ups=tuple(award.follow_ups))
    if len(written(ended)) <= MAX_VALUE:
        return ended
    reason = f"its result and what it published are larger together than {MAX_BODY:,} bytes"
    return Ended(finished=replace(finished, outcome=Reject(reason)), token=award.won.token)


def _delivery(task: Envelope, won: Won, round_: int) -> Delivery:
    """What the worker's loop is given. A first copy is known to wait since it was published."""
    since = 0.0 if task.copy >= BLOCK else task.time
    copy = run_copy(task.copy, round_)
    task = replace(task, copy=copy, fence=won.token, suspect=False)
    headers = encode(task)
    message = Message(task.id, copy, task.topic, task.body, headers, due=since, group=won.role)
    return Delivery(message, won.role, 0, None)
