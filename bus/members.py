"""What the living members of a group ask for, and when one was last there.

Two versions of a role may ask for different topics, and in a rolling upgrade their workers start
by turns. Were the last one to bind right, it would cut the others off. So each version leaves a
note of its patterns that expires, its members renew it, and the group is bound to the union of all
notes.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from pydantic_core import from_json, to_json

from bus.keyvalue import keys
from bus.keyvalue.paging import entries
from bus.keyvalue.protocol import KeyValue
from contracts.clock import Clock

RENEW = 20.0
"""Seconds between two renewals by one member: an idle fleet leaves its broker alone."""

TTL = 3 * RENEW
"""Seconds a note lasts."""

SIGN_EVERY = 60.0
"""Seconds between two signs that a group has members; nobody asks about less than hours."""

DESERTED = 24 * 3600.0
"""Seconds without a member after which a group is said to be deserted."""

Bind = Callable[[str, Sequence[str]], Awaitable[None]]


class Members:
    """Joins groups for one process. `bind` replaces what a group is bound to."""

    def __init__(self, store: KeyValue, clock: Clock, bind: Bind, *, ttl: float = TTL) -> None:
        self._ttl = ttl
        self._store = store
        self._clock = clock
        self._bind = bind
        self._bound: dict[str, frozenset[str]] = {}
        self._seen: dict[str, frozenset[str]] = {}
        self._signed: dict[str, float] = {}

    async def join(self, group: str, patterns: Sequence[str]) -> None:
        """Bind `group` to what its members ask for, this one included, whatever it was bound to.
        On return `patterns` are served. Raises what `bind` and the store raise."""
        self._bound.pop(group, None)
        self._signed.pop(group, None)
        await self.stay(group, patterns)

    async def stay(self, group: str, patterns: Sequence[str]) -> None:
        """Renew the note; call it every `RENEW` seconds. Binds anew when another version has come
        or gone. What was asked for a look ago is served for one more: after an outage all
        notes have expired, and the others renew theirs in between."""
        asked = frozenset(patterns)
        await self._note(group, asked)
        found = await self._asked_for(group) | asked
        wanted = found | self._seen.get(group, frozenset())
        while wanted != self._bound.get(group):
            await self._bind(group, sorted(wanted))
            self._bound[group] = wanted
            wanted |= await self._asked_for(group)  # a version that came meanwhile
        self._seen[group] = found
        await self._sign(group)

    async def forget(self, group: str) -> None:
        """Forget all that was asked for in `group`, and when a member was there: it is no longer
        bound, and whoever joins next is not bound to what others once asked for."""
        for known in (self._bound, self._seen, self._signed):
            known.pop(group, None)
        for note in await self._store.list(keys.listens(group)):
            await self._store.delete(note.key)
        await self._store.delete(keys.seen(group))

    async def _note(self, group: str, patterns: frozenset[str]) -> None:
        value = to_json(sorted(patterns))
        version = hashlib.sha256(value).hexdigest()[:12]
        await self._store.put(keys.listens(group, version), value, ttl=self._ttl)

    async def _asked_for(self, group: str) -> frozenset[str]:
        notes = await self._store.list(keys.listens(group))
        return frozenset(pattern for note in notes for pattern in from_json(note.value))

    async def _sign(self, group: str) -> None:
        now = self._clock.monotonic()
        if now - self._signed.get(group, -SIGN_EVERY) >= SIGN_EVERY:
            await self._store.put(keys.seen(group), to_json(self._clock.wall()))
            self._signed[group] = now


async def versions(store: KeyValue, group: str) -> list[tuple[str, ...]]:
    """What the versions of a group's members ask for that were there in the last minute."""
    found: list[tuple[str, ...]] = []
    async for note in entries(store, keys.listens(group)):
        with suppress(ValueError, TypeError):  # a foreign hand
            found.append(tuple(map(str, from_json(note.value))))
    return found


async def last_seen(store: KeyValue) -> dict[str, float]:
    """When a member of each group was last there, UTC epoch seconds, true to `SIGN_EVERY`.
    A group whose members never joined is not among them."""
    found: dict[str, float] = {}
    async for entry in entries(store, keys.seen()):
        with suppress(ValueError, TypeError):  # a foreign hand
            found[keys.last_word(entry.key)] = float(from_json(entry.value))
    return found


def deserted(groups: Iterable[str], seen: Mapping[str, float], now: float) -> dict[str, float]:
    """The groups nobody has been in for `DESERTED` seconds, each with how long that is."""
    gone = {group: now - seen[group] for group in groups if group in seen}
    return {group: age for group, age in gone.items() if age >= DESERTED}
