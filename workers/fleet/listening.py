"""Hearing what happens: a group of one's own on the events, for as long as one listens.

Whoever listens signs that it is there. A listener that was killed leaves its group behind, which
would collect events for ever; the next one to listen retires such groups.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from bus.bus import Bus
from bus.errors import BusError, Unreachable, Unroutable
from bus.keyvalue import keys
from bus.keyvalue.paging import entries
from contracts.clock import Clock, SystemClock
from contracts.errors import DecodeError
from contracts.events import Event, decode_events
from contracts.topics import EVENTS

PREFIX = "listener-"
"""First letters of the groups that only listen."""

SIGN_EVERY = 20.0
"""Seconds between two signs of life; a listener is forgotten after three times that."""

_AGAIN = 0.5
"""Seconds after which a broker that is away is asked again."""


def _unheard(_error: BusError | None) -> None:
    return


@asynccontextmanager
async def listening(
    bus: Bus,
    name: str,
    *,
    clock: Clock | None = None,
    away: Callable[[BusError | None], None] = _unheard,
) -> AsyncIterator[AsyncIterator[Event]]:
    """Every event told from here on, once or more often: equal ids tell the same thing.

    The group `listener-NAME-RANDOM` is bound when the block is entered, so that nothing told
    inside is missed, and retired with what it still holds when the block is left. A broker that is
    away is waited for: `away` is told why, and None when it is back. What is told while a listener
    is cut off for over a minute may be missed.
    """
    clock = clock or SystemClock()
    await sweep(bus)
    group = f"{PREFIX}{name}-{secrets.token_hex(4)}"
    await _sign(bus, group)
    await bus.store.put(keys.listener(group, "bound"), b"")
    await bus.bind(group, [EVENTS])
    signing = asyncio.create_task(_sign_for_ever(bus, group, clock))
    try:
        yield _events(bus, group, clock, away)
    finally:
        signing.cancel()
        await asyncio.gather(signing, return_exceptions=True)
        await _retire(bus, group)
        await bus.store.delete(keys.listener(group, "alive"))


async def sweep(bus: Bus) -> list[str]:
    """Retire the groups of listeners that gave no sign of life for a minute, and name them."""
    found = await left(bus)
    for group in found:
        await _retire(bus, group)
    return found


async def left(bus: Bus) -> list[str]:
    """The groups whose listeners gave no sign of life for a minute."""
    known = [entry.key.split("/")[1:] async for entry in entries(bus.store, keys.listener())]
    living = {group for group, what in known if what == "alive"}
    return [group for group, what in known if what == "bound" and group not in living]


async def _retire(bus: Bus, group: str) -> None:
    await bus.unbind(group, drop=True)
    await bus.store.delete(keys.listener(group, "bound"))


async def _sign(bus: Bus, group: str) -> None:
    await bus.store.put(keys.listener(group, "alive"), b"", ttl=3 * SIGN_EVERY)


async def _sign_for_ever(bus: Bus, group: str, clock: Clock) -> None:
    while True:
        await clock.sleep(SIGN_EVERY)
        with suppress(BusError):  # tried again, twice before it is forgotten
            await _sign(bus, group)


async def _events(
    bus: Bus, group: str, clock: Clock, away: Callable[[BusError | None], None]
) -> AsyncIterator[Event]:
    lost = False
    while True:
        try:
            found = await bus.pull(group, free=50, wait=5.0)
            events = [event for delivery in found for event in _told(delivery.message.body)]
            if found:
                await bus.forget_all(found)
        except Unroutable:  # retired while we were cut off
            await bus.bind(group, [EVENTS])
            continue
        except Unreachable as error:
            if not lost:
                away(error)
            lost = True
            await clock.sleep(_AGAIN)
            continue
        if lost:
            away(None)
        lost = False
        for event in events:
            yield event


def _told(body: bytes) -> list[Event]:
    try:
        return decode_events(body)
    except DecodeError:
        return []
