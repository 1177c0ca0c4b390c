"""Opens two buses as one, with the bus database beside them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
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
from bus.examined import Examined
from bus.keyvalue.postgres import PostgresKeyValue
from bus.opening import Parts, Terms

Opener = Callable[[Terms], Awaitable[Parts]]


async def open_parts(terms: Terms, fallback: str, first: Opener, second: Opener) -> Parts:
    """Connect to the bus at `terms.url`, which `first` opens, and to the one at `fallback`. Raises
    `Unreachable` when both are away, or the bus database is; what else connecting to either
    raises."""
    address = needed(terms.database, "a fleet with two buses")
    database = await BusDatabase.open(address, fleet=terms.fleet, patience=terms.patience)
    clock = terms.clock
    one, two = replace(terms, fallback=None), replace(terms, url=fallback, fallback=None)
    sides = (
        Side(1, _where(one.url), partial(first, one), clock),
        Side(2, _where(two.url), partial(second, two), clock),
    )
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
    hand_overs = HandOvers(database, terms.lease)
    backend = FailoverBackend(sides, store, hand_overs, clock, terms.lease)
    return Parts(backend, store, close, partial(_examine, sides, telling))


async def _examine(sides: tuple[Side, Side], telling: Telling) -> Examined:
    """What the bus in use tells of itself, and what is wrong with the other if it answers."""
    route = await telling.route()
    used = sides[1] if route.fallback else sides[0]
    other = sides[0] if route.fallback else sides[1]
    found = replace(await used.parts.examine(), route=route)
    if other.away:
        return found
    beside = await other.parts.examine()
    if found.dangers is None and beside.dangers is None:
        return found
    return replace(found, dangers=(*(found.dangers or ()), *(beside.dangers or ())))


def _where(url: str) -> str:
    """An address without user, password and options."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
