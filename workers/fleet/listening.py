"""Hearing what happens: a group of one's own on the events, for as long as one listens."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bus.bus import Bus
from contracts.errors import DecodeError
from contracts.events import Event, decode_events
from contracts.topics import EVENTS


@asynccontextmanager
async def listening(bus: Bus, name: str) -> AsyncIterator[AsyncIterator[Event]]:
    """Every event told from here on, once or more often: equal ids tell the same thing.

    The group `NAME-RANDOM` is bound when the block is entered, so that nothing told inside is
    missed, and retired with what it still holds when the block is left.
    """
    group = f"{name}-{secrets.token_hex(4)}"
    await bus.bind(group, [EVENTS])
    try:
        yield _events(bus, group)
    finally:
        await bus.unbind(group, drop=True)


async def _events(bus: Bus, group: str) -> AsyncIterator[Event]:
    while True:
        for delivery in await bus.pull(group, free=50, wait=5.0):
            try:
                events = decode_events(delivery.message.body)
            except DecodeError:
                events = []
            for event in events:
                yield event
            await bus.forget(delivery)
