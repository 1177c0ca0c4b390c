"""Tasks that may be started once only: a claim before the start, how it ended afterwards.

The claim is put if absent before the handler is called; whoever meets one does not start the
task. Its end takes the claim's place by compare-and-set before the input is settled, so whatever
hands the task out again learns how it ended. A claim without an end is a run that nobody answered
for. A dead letter that somebody gave back is a decision of its own, and has a claim of its own.
"""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol

from bus.claims import Claim, encoded, read
from bus.errors import Conflict
from bus.keyvalue import keys
from bus.keyvalue.protocol import ABSENT, KeyValue
from bus.settling import Finished
from contracts.envelope import REPLAYED, Envelope
from contracts.outcomes import Done, Reject, Retry


class Persist(Protocol):
    """Repeats a call while the store is away."""

    def __call__(self, call: Callable[[], Awaitable[Any]], /) -> Awaitable[Any]: ...


class Claims:
    """The claims of one process. Raises what the store raises once patience is at its end."""

    def __init__(self, store: KeyValue, persist: Persist) -> None:
        self._store = store
        self._persist = persist

    async def take(
        self, group: str, task: Envelope, *, worker: str, now: float, ttl: float
    ) -> Claim:
        """The claim of `task`: one of the caller's own (`mine`), kept for `ttl` seconds, or that of
        whoever was first."""
        key = _key(group, task)
        mine = Claim(secrets.token_hex(8), worker, now, task.copy, task.time)

        async def attempt() -> Claim:
            try:
                revision = await self._store.put(key, encoded(mine), ttl=ttl, expect=ABSENT)
                return replace(mine, revision=revision, mine=True)
            except Conflict:
                first = await self.get(group, task)
            if first is None:
                return await attempt()
            return replace(first, mine=first.by == mine.by)

        found: Claim = await self._persist(attempt)
        return found

    async def get(self, group: str, task: Envelope) -> Claim | None:
        """The claim of `task`, if it was begun."""
        entry = await self._store.get(_key(group, task))
        return None if entry is None else read(entry)

    async def end(self, finished: Finished) -> Finished:
        """`finished` with the one end the task has: its own if nobody was first, else theirs."""
        task, claim, ttl = finished.task, finished.claim, finished.policy.once
        if task is None or claim is None:
            return finished
        key, ended = _key(finished.delivery.group, task), _ended(claim, finished)

        async def attempt() -> Claim:
            expect = claim.revision
            try:
                await self._store.put(key, encoded(ended), ttl=ttl, expect=expect)
            except Conflict:
                there = await self.get(finished.delivery.group, task)
                return ended if there is None or there.end is None else there
            return ended

        found: Claim = await self._persist(attempt)
        if found.end is None or found.by == ended.by:
            return finished
        return replace(finished, outcome=found.end)


def _key(group: str, task: Envelope) -> str:
    return keys.once(group, task.id, task.extra.get(REPLAYED, "0"))


def _ended(claim: Claim, finished: Finished) -> Claim:
    """The claim with the end of the run, and a mark of its own to know it by."""
    outcome = finished.outcome
    if isinstance(outcome, Retry):
        outcome = Reject(outcome.reason, outcome.last, outcome.error)
    if isinstance(outcome, Done) and (finished.task is None or finished.task.reply is None):
        outcome = Done()
    return replace(claim, by=secrets.token_hex(8), end=outcome)
