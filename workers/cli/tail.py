"""`muster task tail`: what happens, told while it happens."""

import asyncio
import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from contracts.events import OF_NO_RUN, Event, Kind
from contracts.topics import check_pattern, matches
from workers.cli import output
from workers.cli.choosing import SHORTEST
from workers.cli.connected import opened
from workers.cli.options import Given

if TYPE_CHECKING:
    from bus.errors import BusError

_REMEMBERED = 20_000
"""Ids of events that are known to have been told."""

_SAID = ("note", "reason", "error")
"""What of an event's data is shown, the first that is there."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Which events are wanted: of a task (its id, or 8 characters of it) and of what it called, of
    a role, of topics, of a tenant, of some kinds; and when to end: after `limit` events, after
    `seconds`."""

    task: str | None = None
    _: KW_ONLY
    role: str | None = None
    topic: str | None = None
    tenant: str | None = None
    kinds: tuple[Kind, ...] = ()
    limit: int | None = None
    seconds: float | None = None

    def takes(self, event: Event) -> bool:
        """Whether `event` is wanted."""
        return (
            (self.task is None or any(map(self._names, (event.task, event.correlation))))
            and self.role in {None, event.role}
            and self.tenant in {None, event.tenant}
            and (self.topic is None or matches(self.topic, event.topic))
            and (not self.kinds or event.kind in self.kinds)
        )

    def _names(self, id_: str | None) -> bool:
        task = self.task or ""
        return id_ is not None and (id_ == task or (len(task) >= SHORTEST and id_.startswith(task)))


def follow(given: Given, wish: Wish) -> None:
    """Show the events that are wanted, until Ctrl-C or as `wish` says. Raises `InvalidTopic`."""
    if wish.topic is not None:
        check_pattern(wish.topic)
    asyncio.run(_follow(given, wish))


async def _follow(given: Given, wish: Wish) -> None:
    from workers.fleet.listening import listening

    async with opened(given) as bus, listening(bus, "tail", away=_away) as events:
        if not given.json:
            output.note("listening from now on; Ctrl-C ends it")
        hearing = asyncio.create_task(_hear(events, wish, as_json=given.json))
        with _ended_by_signal(hearing):
            await asyncio.wait({hearing}, timeout=wish.seconds)
            hearing.cancel()
            await asyncio.wait({hearing})
        if not hearing.cancelled():
            hearing.result()


async def _hear(events: AsyncIterator[Event], wish: Wish, *, as_json: bool) -> None:
    left = wish.limit
    told: deque[str] = deque(maxlen=_REMEMBERED)
    known: set[str] = set()
    async for event in events:
        if event.id in known or not wish.takes(event):
            continue
        if len(told) == _REMEMBERED:
            known.discard(told[0])
        told.append(event.id)
        known.add(event.id)
        if as_json:
            output.as_json_line(_shape(event))
        else:
            output.say(_line(event))
        if left is not None:
            left -= 1
            if left == 0:
                return


@contextmanager
def _ended_by_signal(hearing: "asyncio.Task[None]") -> Iterator[None]:
    """Ctrl-C, a closed terminal and SIGTERM end it in good order: nothing is left on the bus."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, hearing.cancel)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _away(error: "BusError | None") -> None:
    when = time.strftime("%H:%M:%S")
    output.note(f"{when} the bus is back" if error is None else f"{when} the bus is away: {error}")


def _shape(event: Event) -> dict[str, object]:
    names = [name for name in Event.__dataclass_fields__ if name != "data"]
    told = {name: getattr(event, name) for name in names}
    return {"id": event.id, **told, "data": dict(event.data)}


def _line(event: Event) -> str:
    when = datetime.fromtimestamp(event.at).astimezone().strftime("%H:%M:%S.%f")[:-3]
    seconds = event.data.get("seconds")
    took = f"{seconds:.3f} s" if isinstance(seconds, float) else ""
    said = next((str(event.data[name]) for name in _SAID if event.data.get(name)), "")
    share = event.data.get("share")
    if isinstance(share, float | int):
        said = f"{share:.0%} {said}"
    who = event.worker if event.kind in OF_NO_RUN else f"#{event.attempt} {event.worker}"
    told = f"{when} {event.kind:<9} {event.role:<14} {event.task} {who}"
    text = " ".join(filter(None, (told, took, said.partition("\n")[0].strip())))
    return output.printable(text).rstrip()
