"""Opens a fleet's connection to Kafka and its bus database, with everything that uses them."""

import asyncio
import logging
from functools import partial

from bus.backends.kafka import statements
from bus.backends.kafka.address import parsed
from bus.backends.kafka.backend import KafkaBackend
from bus.backends.kafka.examine import examine
from bus.backends.kafka.link import KafkaLink
from bus.backends.kafka.names import checked
from bus.database.address import needed
from bus.database.database import BusDatabase
from bus.database.ear import Ear
from bus.keyvalue.postgres import PostgresKeyValue
from bus.opening import Parts, Terms


async def open_parts(terms: Terms) -> Parts:
    """Backend and store. Raises `Unreachable` and `AccessDenied`, saying which of the two servers,
    and `Unsafe` without a bus database."""
    address, fleet = parsed(terms.url), checked(terms.fleet)
    url = needed(terms.database, "Kafka")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it tells, our errors say
    known = terms.lockouts
    link = KafkaLink(address, name=terms.name, patience=terms.patience, lockouts=known)
    try:
        await link.ready("connecting")
        database = await BusDatabase.open(url, fleet=fleet, patience=terms.patience, lockouts=known)
    except BaseException:
        await link.close()
        raise
    ear = Ear(database, terms.clock)

    async def close() -> None:
        database.close()
        await link.close()
        await asyncio.sleep(0)  # what was dropped closes its socket in the next turn

    try:
        await database.fetch(statements.FLEET, database.fleet)
        if terms.max_bytes is not None:
            await database.fetch(statements.LIMIT, database.fleet, terms.max_bytes)
    except BaseException:
        await close()
        raise
    backend = KafkaBackend(
        link,
        database,
        ear,
        fleet=fleet,
        lease=terms.lease,
        slices=terms.slices,
        clock=terms.clock,
    )
    store = PostgresKeyValue(database, ear, terms.clock)
    return Parts(backend, store, close, partial(examine, link, database, terms.clock))
