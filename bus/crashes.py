"""Counts crashes beside the pulls that find them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from bus.backend import Delivery
from bus.errors import BusError
from bus.keyvalue import keys
from bus.keyvalue.protocol import KeyValue
from bus.settling import Finished, Plan, Policy
from bus.suspects import Blame, crashed, is_last, unbegun, unless_known
from contracts.clock import Clock
from contracts.envelope import Envelope
from contracts.outcomes import Outcome
from contracts.results import Result

_LAST = 1.0
"""Seconds that what is under way is given when the bus closes; then it comes back by its lease."""

_log = logging.getLogger(__name__)


class CrashCounter:
    """Takes what came back from a crash out of what was pulled, and settles it. What may be started
    once leaves no note here: it comes again, and meets its claim (`bus.claiming`).

    An attempt is counted on suspicion, but a task only dies of what is known: its last attempt is
    noted before it begins, and one that was never noted was merely in hand, or lost on its way.

    Counting happens in tasks of its own: nothing is awaited between a pull and what it returns, so
    a pull that is cancelled owns nothing unseen. What cannot be settled comes back by its lease.
    Those in `settled` are told what was counted, and what became of it.
    """

    def __init__(
        self,
        known: Callable[[Delivery, Envelope], Awaitable[Result | None]],
        settle: Callable[[Finished], Awaitable[Plan | None]],
        store: KeyValue,
        clock: Clock,
        *,
        stopped: Callable[[Envelope, str], Outcome | None],
    ) -> None:
        self._known = known
        self._stopped = stopped
        self._settle = settle
        self._store = store
        self._clock = clock
        self.settled: list[Callable[[Finished, Plan], None]] = []
        self._beside: set[asyncio.Task[None]] = set()

    def sift(self, found: Sequence[Delivery], blame: Blame) -> list[Delivery]:
        """What may be shown upward."""
        shown = []
        for delivery in found:
            finished = crashed(delivery, blame, self._clock.wall())
            if finished is None:
                shown.append(delivery)
            else:
                self._spawn(self._count(finished))
        return shown

    async def begin(self, delivery: Delivery, task: Envelope, policy: Policy) -> None:
        """Note that this run begins, if it is the last `policy` allows. Raises what the store
        raises; then the run must not begin."""
        if is_last(task, policy):
            key = keys.begun(delivery.group, task.id)
            await self._store.put(key, str(task.copy).encode(), ttl=keys.BEGUN_TTL)

    def end(self, finished: Finished) -> None:
        """Forget that it began: it was settled. Nobody waits for that."""
        task = finished.task
        noted = finished.began and finished.policy.once is None
        if task is not None and noted and is_last(task, finished.policy):
            self._spawn(self._forget(keys.begun(finished.delivery.group, task.id)))

    async def close(self) -> None:
        """Finish what is under way, as far as that is quick."""
        if self._beside:
            _, late = await asyncio.wait(self._beside, timeout=_LAST)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _count(self, finished: Finished) -> None:
        task = finished.task
        try:
            known = await self._known(finished.delivery, task) if task else None
            if known is None and task is not None and is_last(task, finished.policy):
                finished = await self._unless_unbegun(finished, task)
            stop = self._stopped(task, finished.delivery.group) if task else None
            if stop is not None:
                finished = replace(finished, outcome=stop)
            finished = unless_known(finished, known)
            settled = await self._settle(finished)
            if settled is not None:
                for heard in self.settled:
                    heard(finished, settled)
        except BusError as error:
            _log.warning("could not count a crash; it comes back by its lease: %s", error)
        except Exception:  # noqa: BLE001 - nobody waits for this task
            _log.exception("could not count a crash; it comes back by its lease")

    async def _unless_unbegun(self, finished: Finished, task: Envelope) -> Finished:
        note = await self._store.get(keys.begun(finished.delivery.group, task.id))
        began = note is not None and note.value == str(task.copy).encode()
        return replace(finished, began=True) if began else unbegun(finished)

    async def _forget(self, key: str) -> None:
        with suppress(BusError):  # it expires
            await self._store.delete(key)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)
