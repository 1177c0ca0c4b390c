"""Opens a fleet's connections to RabbitMQ and the bus database, with everything on them."""

import logging
from functools import partial

from bus.backends.rabbitmq.backend import RabbitBackend
from bus.backends.rabbitmq.examine import examine
from bus.backends.rabbitmq.link import RabbitLink
from bus.backends.rabbitmq.names import exchange_of
from bus.database.address import needed
from bus.database.database import BusDatabase
from bus.database.ear import Ear
from bus.keyvalue.postgres import PostgresKeyValue
from bus.opening import Parts, Terms
from contracts.errors import InvalidValue

LEAST = 2.0
"""Seconds of the shortest lease: heartbeats are whole seconds, and two of them have to be missed
before the broker hands what a frozen process holds to another."""


async def open_parts(terms: Terms) -> Parts:
    """Backend and store. Raises `Unreachable`, which says which of the two servers is away,
    `AccessDenied`, `Unsafe`; `InvalidValue` for a lease the broker cannot keep."""
    if terms.lease < LEAST:
        raise InvalidValue(
            f"a lease of {terms.lease:g} s is too short for RabbitMQ",
            details=f"it keeps {LEAST:g} s at the least: its heartbeats are whole seconds",
            actions=(f"set fleet.lease to {LEAST:g} or more",),
        )
    url = needed(terms.database, "RabbitMQ")
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # what it tells, our errors say
    link = _link(terms)
    try:
        await link.pair()
        database = await BusDatabase.open(
            url, fleet=terms.fleet, patience=terms.patience, lockouts=terms.lockouts
        )
    except BaseException:
        await link.close()
        raise
    ear = Ear(database, terms.clock)
    backend = RabbitBackend(link, database, ear, terms)
    try:
        await backend.start()
    except BaseException:
        await backend.close()
        database.close()
        raise

    async def close() -> None:
        database.close()

    store = PostgresKeyValue(database, ear, terms.clock)
    return Parts(backend, store, close, partial(examine, link, backend, database))


def _link(terms: Terms) -> RabbitLink:
    beat = int(terms.lease + 1) // 3
    link = RabbitLink(
        terms.url,
        beat=beat,
        patience=terms.patience,
        clock=terms.clock,
        name=terms.name,
        lockouts=terms.lockouts,
    )
    link.exchange = exchange_of(terms.fleet)
    return link
