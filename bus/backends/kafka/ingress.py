"""The ingress: what programs put into the inlet that know no groups, routed by the fleet.

One process of the fleet does it, which renews its right to as a lease. Published again after a
crash, a task has its key again, and runs once. What no group wants, or is no task, is parked: a row
that is looked at again whenever the bindings have changed.
"""

import json
import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from bus.backend import HIGH, LOW, MAX_BODY, NORMAL, RETRY, Delivery, Message
from bus.backends.kafka import statements
from bus.backends.kafka.bells import Bells
from bus.backends.kafka.groups import Group, Groups
from bus.backends.kafka.inlet import opened
from bus.backends.kafka.link import KafkaLink
from bus.backends.kafka.names import INGRESS
from bus.backends.kafka.publish import Publisher
from bus.backends.kafka.pull import Puller
from bus.backends.kafka.receipts import receipt
from bus.backends.kafka.settle import Settler
from bus.database.database import BusDatabase
from bus.errors import BusError, Full, TooLarge, Unroutable
from bus.examined import Danger
from bus.fullness import AGAIN
from bus.ingress import message_of, parked
from bus.pumping import Pump
from bus.sizes import check_sizes
from bus.waking import rung
from contracts.clock import Clock
from contracts.errors import DecodeError

_LANES = (HIGH, RETRY, NORMAL, LOW)

_AT_ONCE = 200
"""Tasks that are routed at once."""

TERM = 20.0
"""Seconds for which a process is the one that routes; it renews that after half of them."""

_PARKED = 3600.0
"""Seconds after which what is parked is looked at though nothing was bound."""

_SHOWN = 20
"""Parked tasks whose topics are told."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rooms:
    """The parts of a backend that it routes by."""

    publisher: Publisher
    settler: Settler
    puller: Callable[..., Puller]


class Ingress:
    """What one process does for it, from its first pull on. `reading`: it is the one."""

    def __init__(
        self,
        link: KafkaLink,
        database: BusDatabase,
        groups: Groups,
        bells: Bells,
        rooms: Rooms,
        *,
        fleet: str,
        clock: Clock,
    ) -> None:
        self.reading = self._led = False
        self._database = database
        self._groups = groups
        self._bells = bells
        self._rooms = rooms
        self._open = partial(opened, link, database, groups, fleet=fleet, clock=clock)
        self._clock = clock
        self._me = secrets.randbits(62)
        self._pump = Pump(self._read, "reading the ingress", clock)
        self._looked = -1

    def touch(self) -> None:
        """See that it runs."""
        self._pump.touch()

    async def close(self) -> None:
        """Finish what is being routed, and let another go on."""
        await self._pump.close()
        group = self._groups.known.groups.get(INGRESS)
        if self._led and group is not None:
            with suppress(BusError):
                await self._database.fetch(statements.RESIGN, group.gid, self._me, sure=False)
                self._bells.tell_rows({group.gid})

    async def _read(self) -> None:
        """Wait until this is ours to do, then do it. Raises bus errors."""
        group = await self._open()
        while True:
            bell = self._bells.bell(group.gid)
            await self._serve(group)
            await rung(bell, self._clock, TERM / 2)

    async def _leads(self, group: Group) -> int | None:
        """The version of the bindings, if this process is the one that routes for a term from now
        on."""
        terms = (group.gid, self._me, TERM)
        version: int | None = await self._database.fetchval(statements.LEAD, *terms, sure=False)
        return version

    async def _serve(self, group: Group) -> None:
        """Route what comes, as long as this is ours to do. Raises bus errors."""
        puller = self._rooms.puller(slices=1, lease=TERM)  # it looks no more often than it renews
        try:
            while (version := await self._leads(group)) is not None:
                self._led = self.reading = True
                if version != self._looked:
                    await self._database.fetch(statements.UNPARK, group.gid, sure=False)
                    self._looked = version
                found = await puller.pull(INGRESS, _LANES, _AT_ONCE, TERM / 2)
                if found:
                    async with self._pump.busy:
                        await self._route(found)
        finally:
            self.reading = False
            await puller.close()

    async def _route(self, found: Sequence[Delivery]) -> None:
        """Publish what somebody wants, park the rest, and be done with all of it. What is not
        settled is handed out again."""
        tasks = {id(delivery): _task(delivery) for delivery in found}
        bindings = await self._groups.current()
        wanted = [m for m in tasks.values() if m is not None and bindings.targets(m)]
        try:
            if wanted:
                await self._rooms.publisher.publish(wanted)
        except (Unroutable, Full) as error:
            _log.debug("what others put in waits: %s", error)
            await self._clock.sleep(AGAIN)
            return
        published = {id(m) for m in wanted}
        due = self._clock.wall() + _PARKED
        then = [
            _parked(delivery, tasks[id(delivery)], due)
            for delivery in found
            if id(tasks[id(delivery)]) not in published
        ]
        await self._rooms.settler.settle(found, then)


def _task(delivery: Delivery) -> Message | None:
    """The task that somebody has put in; None where it is no task."""
    m = delivery.message
    try:
        found = message_of(m.headers, m.body, place=m.id or _place(delivery))
        check_sizes([found])
    except (DecodeError, TooLarge) as error:
        _log.warning("no task, at the ingress: %s", error)
        return None
    return found


def _place(delivery: Delivery) -> str:
    """Where it lies, as an id."""
    return f"in{receipt(delivery).key.replace('/', '-')}"


def _parked(delivery: Delivery, task: Message | None, due: float) -> Message:
    """What is kept of it until then: as it was put in, or what of that a row takes."""
    m = delivery.message
    kept = replace(
        m,
        id=m.id or (task.id if task else _place(delivery)),
        copy=m.copy + 1,
        topic=task.topic if task else m.topic,
        body=m.body[:MAX_BODY],
        lane=RETRY,
        due=due,
        group=INGRESS,
    )
    try:
        check_sizes([kept])
    except TooLarge:
        return replace(kept, headers={})
    return kept


async def parked_tasks(database: BusDatabase) -> list[Danger]:
    """One, if something is parked."""
    rows = await database.fetch(statements.PARKED, database.fleet, INGRESS, _SHOWN)
    look = "see docs/brokers/kafka.md#the-ingress"
    return list(parked(rows[0]["count"] if rows else 0, _topics(r["meta"] for r in rows), look))


def _topics(metas: Iterable[str]) -> Sequence[str]:
    return [json.loads(meta)[2] for meta in metas]
