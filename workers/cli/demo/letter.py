"""A dead letter, from its death to its result: provoked, looked at, edited and replayed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pydantic_core import from_json

from bus.deadletters import DeadLetter
from contracts.clock import Clock
from contracts.events import Event
from contracts.results import Result
from workers.cli import editing
from workers.cli.demo.tale import Tale
from workers.cli.payloads import Payload
from workers.fleet.client import FleetClient
from workers.settings import Loaded

WRONG: Mapping[str, object] = {"researchers": "three"}
"""What the payload says that the coordinator, who needs a number, cannot accept."""

MENDED: Mapping[str, object] = {"researchers": 3}

_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Mended:
    """What became of it. `changes`: the difference of the payloads, line by line; `end`: the
    event that told the end; `after`: seconds from the replay to that end."""

    letter: DeadLetter
    changes: Sequence[str]
    result: Result
    end: Event
    after: float


async def mend(
    fleet: FleetClient, loaded: Loaded, tale: Tale, job: Mapping[str, object], clock: Clock
) -> Mended:
    """Publish `job` with a payload that its role refuses; edit and replay the dead letter as
    `muster dlq edit` does. Raises what that does, and `NoResult`."""
    task = await fleet.publish("brief.request", {**job, **WRONG})
    death = await tale.until(partial(tale.end, task.id))
    letter = await fleet.bus.dead.get(death.role, task.id)
    payload = Payload({**from_json(letter.body), **MENDED})
    editing.check(editing.role_of(loaded, letter.group), payload)
    changes = editing.difference(letter, payload)
    replayed = clock.wall()
    await editing.take(fleet.bus, letter, payload, now=replayed)
    end = await tale.until(partial(tale.end, task.id, copy=death.copy + 1))
    result = await task.outcome(_PATIENCE)
    return Mended(letter, changes, result, end, end.at - replayed)
