"""A bridge as others see it: somebody who works on its group."""

from collections.abc import Callable
from dataclasses import dataclass
from time import process_time
from typing import Protocol

import psutil

from bus.bus import Bus
from contracts.clock import Clock
from workers.bridge.holding import Group
from workers.engine.identity import Identity
from workers.fleet.presence import Alive, Presence, at_once


@dataclass(frozen=True, slots=True)
class Counts:
    """Messages that have crossed, and those that are dead letters."""

    done: int
    refused: int


class Bridge(Protocol):
    """One direction of a bridge."""

    @property
    def group(self) -> Group:
        """Its own on the fleet's bus."""
        ...

    @property
    def counts(self) -> Counts:
        """What it has done."""
        ...

    async def bind(self) -> None:
        """Be kept for. Raises as `Bus.join`."""
        ...

    async def run(self) -> None:
        """Work until stopped."""
        ...

    def stop(self) -> None:
        """End soon."""
        ...


def shown_as(bridge: Bridge, bus: Bus, clock: Clock, ready: Callable[[], None]) -> Presence:
    """What lets `muster ps` see that it runs; `ready` is called once it can."""
    who, process, since = Identity.of_this_process(), psutil.Process(), clock.wall()

    def look() -> Alive:
        return Alive(
            role=bridge.group.name,
            worker=who.name,
            pid=who.pid,
            host=who.host,
            since=since,
            at=clock.wall(),
            concurrency=1,
            succeeded=bridge.counts.done,
            failed=bridge.counts.refused,
            draining=bridge.group.stopping,
            memory=process.memory_info().rss,
            cpu=process_time(),
        )

    return Presence(bus.store, clock, look, ready=at_once, shown=ready, heard=bus.contact.heard)
