"""Limited rates over the whole fleet: slots are reserved in the store, and carried by the task."""

import random
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from zlib import crc32

from bus.batching import Batcher
from bus.buckets import Bucket, reserve
from bus.keyvalue import keys
from bus.keyvalue.protocol import ABSENT, Absent, KeyValue, Revision
from bus.patience import contested
from bus.scopes import Scope
from contracts.clock import Clock

LATE = 2.0
"""Seconds after its slot in which a task may still start. One that comes later, because the fleet
was down or busy, takes a new slot: what piled up must not start as a herd."""

_KEEP = 60.0
"""Seconds a bucket outlives its last slot: more than clocks differ."""

_REMEMBERED = 1000
"""Buckets whose last revision is remembered: a lone process need not read before it writes."""


@dataclass(slots=True)
class _Asked:
    """The asks of one bucket that are under way in this process."""

    batcher: Batcher[Bucket, float]
    users: int = 0


class Reservations:
    """Slots in buckets that all processes of a fleet share.

    Each bucket is one entry, changed by compare-and-set; what one process asks of a bucket at one
    moment is one change. An error leaves at worst slots that nobody uses.
    """

    def __init__(self, store: KeyValue, clock: Clock, rng: random.Random) -> None:
        self._store = store
        self._clock = clock
        self._rng = rng
        self._asked: dict[str, _Asked] = {}
        self._known: OrderedDict[str, tuple[float, Revision]] = OrderedDict()

    async def reserve(self, scope: Sequence[str], bucket: Bucket) -> float:
        """The time from which on one task may start. Raises what the store raises."""
        key = keys.bucket(scope)
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = _Asked(Batcher(partial(self._change, key)))
        asked.users += 1
        try:
            return await asked.batcher.ask_one(bucket)
        finally:
            asked.users -= 1
            if not asked.users:
                self._asked.pop(key, None)

    async def _change(self, key: str, buckets: Sequence[Bucket]) -> Sequence[float]:
        """Slots for all of `buckets`, which are the same bucket."""
        attempt = partial(self._try, key, buckets[-1], len(buckets))
        return await contested(attempt, self._clock, self._rng, eager=True)

    async def _try(self, key: str, bucket: Bucket, count: int) -> Sequence[float]:
        known = self._known.pop(key, None) or await self._read(key)
        now = self._clock.wall()
        slots, state = reserve(bucket, known and known[0], now, count)
        expect: Revision | Absent = ABSENT if known is None else known[1]
        revision = await self._store.put(
            key, repr(state).encode(), ttl=state - now + _KEEP, expect=expect
        )
        self._remember(key, (state, revision))
        return slots

    async def _read(self, key: str) -> tuple[float, Revision] | None:
        entry = await self._store.get(key)
        return None if entry is None else (float(entry.value), entry.revision)

    def _remember(self, key: str, known: tuple[float, Revision]) -> None:
        self._known[key] = known
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


def mark(scope: Scope) -> str:
    """A short word for a scope: enough to tell the few of one task apart."""
    return f"{crc32('/'.join(scope.name).encode()):08x}"


def written(slots: Mapping[str, float]) -> str:
    """Slots by the marks of their scopes, as `Envelope.reserved` carries them."""
    return ",".join(f"{name}={slot:.6f}" for name, slot in slots.items())


def held(reserved: str | None, scopes: Iterable[Scope], now: float) -> dict[str, float]:
    """The slots in `reserved` that a task which is here at `now` may still use. They are of use
    together or not at all: the latest one says when it was to start. What cannot be read is
    none."""
    wanted = {mark(scope) for scope in scopes if scope.bucket is not None}
    found: dict[str, float] = {}
    for part in (reserved or "").split(","):
        name, _, slot = part.partition("=")
        if name in wanted:
            try:
                found[name] = float(slot)
            except ValueError:
                return {}
    fresh = all(map(isfinite, found.values())) and now <= max(found.values(), default=now) + LATE
    return found if fresh else {}
