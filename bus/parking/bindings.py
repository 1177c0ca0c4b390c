"""Which groups are bound to what, as the bus database says; kept current by its notices."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bus.backend import Message, is_owed
from bus.database.database import BusDatabase
from bus.database.errors import translated
from bus.parking.statements import BIND, GROUPS, UNBIND
from bus.unbound import not_bound, unroutable
from contracts.topics import matches_any

if TYPE_CHECKING:
    from bus.database.links import Apart


@dataclass(frozen=True, slots=True)
class Binding:
    """A group of this fleet. `gid`: the number of this life of it. `facts`: what its broker's
    backend has to know of it."""

    gid: int
    group: str
    patterns: tuple[str, ...]
    facts: Mapping[str, Any]


_LOCK = 30.0
"""Seconds to wait for others that change the same group."""


def channel_of(fleet: int) -> str:
    """Where a fleet's backends tell each other of bindings and of rows."""
    return f"muster_parking_{fleet}"


class Bindings:
    """Those of one fleet. What is remembered may be old by as much as a notice takes."""

    def __init__(self, database: BusDatabase) -> None:
        self._database = database
        self._known: Mapping[str, Binding] | None = None
        self._told = 0

    def stale(self) -> None:
        """Something has changed, or may have: read again before the next use."""
        self._known = None
        self._told += 1

    async def now(self) -> Mapping[str, Binding]:
        """By group, as of a moment after the call."""
        told = self._told
        rows = await self._database.fetch(GROUPS, self._database.fleet, sure=False)
        found = {row["name"]: _binding(row) for row in rows}
        if told == self._told:
            self._known = found
        return found

    async def known(self) -> Mapping[str, Binding]:
        """By group, as remembered."""
        return await self.now() if self._known is None else self._known

    async def of(self, group: str) -> Binding:
        """The binding of a group. Raises `Unroutable` if it is not bound now."""
        found = (await self.known()).get(group)
        if found is None:
            found = (await self.now()).get(group)
        if found is None:
            raise not_bound(group, await self.known())
        return found

    async def targets(
        self, messages: Sequence[Message], *, strict: bool, fresh: bool
    ) -> list[list[Binding]]:
        """For each message the groups it is for. `fresh`: as of now, not as remembered. Raises
        `Unroutable` for one that has none although it must: one for a group that is not bound,
        or, when `strict`, a topic that no group wants."""
        known = await (self.now() if fresh else self.known())
        found = [_targets(message, known) for message in messages]
        if not fresh and _lost(messages, found, strict=strict):
            known = await self.now()
            found = [_targets(message, known) for message in messages]
        if lost := _lost(messages, found, strict=strict):
            raise unroutable(lost, known)
        return found

    @asynccontextmanager
    async def changing(self, group: str) -> AsyncIterator["Apart"]:
        """One at a time changes a group, on a connection of its own: it may take seconds."""
        link = await self._database.apart()
        try:
            with translated(self._database.where):
                name = f"muster bind {self._database.fleet}/{group}"
                lock = "SELECT pg_advisory_lock(hashtextextended($1, 0))"
                await link.execute(lock, name, timeout=_LOCK)
                yield link
        finally:
            link.terminate()

    async def bind(
        self, link: "Apart", group: str, patterns: Iterable[str], facts: Mapping[str, Any]
    ) -> int:
        """From the return on publishers see it; the number of this life of the group."""
        fleet, text = self._database.fleet, json.dumps(facts)
        with translated(self._database.where):
            told = channel_of(fleet)
            gid = await link.fetchval(BIND, fleet, group, sorted(patterns), text, told)
        self.stale()
        return int(gid)

    async def unbind(self, link: "Apart", group: str) -> None:
        """Forget the group; its rows are nobody's then: `Parking.sweep`."""
        fleet = self._database.fleet
        with translated(self._database.where):
            await link.fetchval(UNBIND, fleet, group, channel_of(fleet))
        self.stale()


def _lost(
    messages: Sequence[Message], found: Sequence[Sequence[Binding]], *, strict: bool
) -> Message | None:
    """The first message that has no group and must have one."""
    return next(
        (
            message
            for message, targets in zip(messages, found, strict=True)
            if not targets and (message.group is not None or (strict and is_owed(message)))
        ),
        None,
    )


def _targets(message: Message, known: Mapping[str, Binding]) -> list[Binding]:
    if message.group is not None:
        return [known[message.group]] if message.group in known else []
    return [each for each in known.values() if matches_any(each.patterns, message.topic)]


def _binding(row: Any) -> Binding:
    return Binding(row["gid"], row["name"], tuple(row["patterns"]), json.loads(row["facts"]))
