"""Stops: a task published before a mark was set does not start, and ends as cancelled.

Cancel and purge are this one thing, an entry of the family `stop`. What counts as before:

* The mark of a *task* stops the id, whenever it was published, with all its retries and snoozes,
  the tasks it called (their `reply` is its id) and everything below it (their `correlation` is the
  id of the root). An idempotency key is the id: cancelled, it stays so.
* The mark of a *role, tenant, subject* or of *all* stops what was first published no later than
  the mark: a retry or snooze that comes afterwards is still of then. A task whose publisher told
  no time is not known to be older, so it is left alone.
* A run that is ended so, and has called other roles, leaves a mark of its *calls*, which stops
  those in the same way. (What it published without waiting for it goes on.)
* Giving back a dead letter is a decision of its own: it, and what it calls and publishes from
  then on, is stopped only by marks of later than that (header `muster-replayed`).

Mark and task are dated by the clocks of two machines. Where these differ, a task published within
the difference of a mark of the second kind may go either way; a task's own mark has no such doubt.

The mark of a task or its calls lives 400 days; nothing may be put off for longer than `LATEST_DUE`,
so whatever was there when it was set has come up, and ended, by then. The others stay: they are one
entry each.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

from bus.keyvalue import keys
from bus.keyvalue.paging import entries
from bus.keyvalue.protocol import Entry, KeyValue
from contracts.clock import Clock
from contracts.envelope import REPLAYED, Envelope
from contracts.errors import InvalidValue
from contracts.outcomes import Cancelled

T = TypeVar("T")

LATEST_DUE = 366 * keys.DAY
"""Seconds a task may be put off."""


class Kind(StrEnum):
    """What a mark stops: of `CALLS` what a task has called. `PAUSE` stops nothing: it keeps a role
    from starting anything for a while."""

    TASK = "task"
    CALLS = "calls"
    ROLE = "role"
    TENANT = "tenant"
    SUBJECT = "subject"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class Mark:
    """`at`: UTC epoch seconds; `by`: who set it (user@host)."""

    at: float
    by: str = ""
    reason: str = ""

    def outcome(self) -> Cancelled:
        """What a stopped task comes to."""
        said = f"cancelled by {self.by or 'somebody'}"
        return Cancelled(f"{said}: {self.reason}" if self.reason else said)


Marks = Mapping[str, Mark]
"""All marks by their keys."""


def read(entry: Entry) -> Mark:
    """The mark in an entry. One that cannot be read, such as a later release's, stops all the
    same: somebody wanted that."""
    try:
        fields = json.loads(entry.value)
        return Mark(float(fields["at"]), str(fields["by"]), str(fields["reason"]))
    except (ValueError, KeyError, TypeError):
        return Mark(float("inf"), reason="its mark cannot be read by this release")


def is_stopped(task: Envelope, group: str, marks: Marks) -> Mark | None:
    """The mark that stops this task in this group, if one does; see above."""
    if not marks:
        return None
    replayed = _replayed(task)
    for name in {task.id, task.correlation, task.reply} - {None}:
        mark = marks.get(keys.stop(Kind.TASK, name or ""))
        if mark is not None and mark.at >= replayed:
            return mark
    published = max(task.time, replayed)
    if not published:
        return None
    kinds = [keys.stop(Kind.CALLS, task.reply)] if task.reply else []
    kinds += [keys.STOP_ALL, keys.stop(Kind.ROLE, group), keys.stop(Kind.TENANT, task.tenant)]
    kinds += [keys.stop(Kind.SUBJECT, subject) for subject in task.subjects]
    found = (marks.get(key) for key in kinds)
    return next((mark for mark in found if mark is not None and published <= mark.at), None)


def _replayed(task: Envelope) -> float:
    try:
        return float(task.extra.get(REPLAYED, "0"))
    except ValueError:
        return 0.0


def check_due(due: float, now: float) -> None:
    """Raise `InvalidValue` for a task put off for longer than marks live."""
    if due - now > LATEST_DUE:
        raise InvalidValue(
            f"a task cannot be put off for {(due - now) / keys.DAY:,.0f} days",
            details=f"{LATEST_DUE / keys.DAY:.0f} days are the most: a cancelled task must come up "
            "before its mark expires",
            actions=("publish it nearer to its time",),
        )


class Persist(Protocol):
    """Repeats a call while the broker is away."""

    async def __call__(self, call: Callable[[], Awaitable[T]], /) -> T: ...


class Stops:
    """Sets and lifts marks. Safe to use from several processes."""

    def __init__(self, store: KeyValue, clock: Clock, persist: Persist) -> None:
        self._store = store
        self._clock = clock
        self._persist = persist

    async def put(self, kind: Kind, name: str, *, by: str = "", reason: str = "") -> Mark:
        """Set a mark as of now. From a second after this returned on, nothing that it stops
        starts anywhere."""
        ttl = keys.STOP_TTL if kind in {Kind.TASK, Kind.CALLS} else None
        return await self._put(keys.stop(kind, name), by, reason, ttl)

    async def put_all(self, *, by: str = "", reason: str = "") -> Mark:
        """As `put`, for every task of the fleet."""
        return await self._put(keys.STOP_ALL, by, reason, None)

    async def lift(self, kind: Kind, name: str) -> bool:
        """Take a mark away; False when there was none."""
        return await self._persist(lambda: self._store.delete(keys.stop(kind, name)))

    async def paused(self) -> dict[str, Mark]:
        """The roles that are paused."""
        prefix = keys.stop(Kind.PAUSE, "")
        found = entries(self._store, prefix)
        return {keys.last_word(entry.key): read(entry) async for entry in found}

    async def _put(self, key: str, by: str, reason: str, ttl: float | None) -> Mark:
        """A mark is never set back to an earlier time."""
        old = await self._persist(lambda: self._store.get(key))
        now = self._clock.wall()
        before = read(old).at if old is not None else now
        mark = Mark(max(now, before) if before < float("inf") else now, by, reason)
        value = json.dumps(asdict(mark)).encode()
        await self._persist(lambda: self._store.put(key, value, ttl=ttl))
        return mark
