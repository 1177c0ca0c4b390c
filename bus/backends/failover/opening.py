"""Opens two buses as one, with the bus database beside them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import urlsplit

from bus.backends.failover.backend import FailoverBackend
from bus.backends.failover.hand_overs import HandOvers
from bus.backends.failover.pull import away
from bus.backends.failover.side import Side
from bus.backends.failover.telling import Telling
from bus.database.address import needed
from bus.database.database import BusDatabase
from bus.database.ear import Ear
from bus.examined import Danger, Examined
from bus.keyvalue.postgres import PostgresKeyValue
from bus.opening import Parts, Terms


@dataclass(frozen=True, slots=True)
class Half:
    """One of the two: where it is, what connects to it, whether it `leans` on the bus database."""

    url: str
    open: Callable[[Terms], Awaitable[Parts]]
    leans: bool


async def open_parts(terms: Terms, halves: Sequence[Half]) -> Parts:
    """Connect to two buses, the one that is used first before the other. Raises `Unreachable` when
    both are away, or the bus database is; what else connecting to either raises."""
    address = needed(terms.database, "a fleet with two buses")
    database = await BusDatabase.open(
        address, fleet=terms.fleet, patience=terms.patience, lockouts=terms.lockouts
    )
    clock, hand_overs = terms.clock, HandOvers(database, terms.lease)
    first, second = (_side(n, half, terms, hand_overs) for n, half in enumerate(halves, 1))
    sides = (first, second)
    store = PostgresKeyValue(database, Ear(database, clock), clock)

    async def close() -> None:
        await asyncio.gather(*(side.close() for side in sides))
        database.close()

    try:
        await asyncio.gather(*(side.open() for side in sides))
        if all(side.away for side in sides):
            raise away(sides)
    except BaseException:
        await asyncio.gather(*(side.close_backend() for side in sides))
        await close()
        raise
    telling = Telling(*sides, store, clock)
    await telling.begin()
    backend = FailoverBackend(sides, store, hand_overs, clock, terms.lease)
    return Parts(backend, store, close, partial(_examine, sides, telling))


def _side(number: int, half: Half, terms: Terms, hand_overs: HandOvers) -> Side:
    own = replace(terms, url=half.url, fallback=None)
    beside = hand_overs.now if half.leans else None
    return Side(number, _where(half.url), partial(half.open, own), terms.clock, beside)


async def _examine(sides: tuple[Side, Side], telling: Telling) -> Examined:
    """What the bus in use tells of itself, and what is wrong with the other if it answers."""
    route = await telling.route()
    used = sides[1] if route.fallback else sides[0]
    other = sides[0] if route.fallback else sides[1]
    found = replace(await used.parts.examine(), route=route)
    if other.away:
        return found
    beside = await other.parts.examine()
    return replace(
        found,
        dangers=(*found.dangers, *beside.dangers),
        unseen=(*found.unseen, *beside.unseen, *_unsynced(beside, other.where)),
    )


def _unsynced(beside: Examined, where: str) -> Iterator[Danger]:
    """Of a bus beside the one in use, whose own monitoring nobody asks."""
    if beside.hides_sync:
        yield Danger(
            name="sync beside",
            said=f"whether {where} syncs every write is looked at while it is the one in use",
            why="what it accepts survives a machine that stops only if each write is synced",
            do="look for `jetstream { sync_interval: always }` in its server's file",
            promise=1,
        )


def _where(url: str) -> str:
    """An address without user, password and options."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
