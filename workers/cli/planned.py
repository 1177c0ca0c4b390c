"""Schedules as the command line reads and shows them."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from typing import Any

from bus.backend import MAX_BODY
from bus.errors import TooLarge
from contracts.envelope import Priority
from contracts.topics import near, publishable
from knowledge.schedules.rows import Schedule
from knowledge.schedules.ticks import Misfire, Timing, timing, zone_of
from workers.cli import times
from workers.cli.errors import WrongUsage
from workers.cli.payloads import Payload
from workers.cli.publish import micro_dollars

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


@dataclass(frozen=True, slots=True)
class Order:
    """What to publish, as it was given; `deadline` and `budget` are still text."""

    name: str
    topic: str
    tenant: str
    priority: Priority
    _: KW_ONLY
    deadline: str | None
    budget: str | None


def timing_of(cron: str | None, at: str | None, zone: str, now: float) -> Timing:
    """When it ticks. Raises `WrongUsage`, and `InvalidValue` from `ticks.timing`."""
    if (cron is None) == (at is None):
        raise WrongUsage(
            "a schedule needs either --cron or --at",
            details="both were given" if cron else "neither was given",
            actions=("give --cron '0 8 * * *', or --at 2030-01-31T08:00",),
        )
    if at is None:
        return timing(cron=cron, at=None, zone=zone, now=now)
    moment = times.moment_in(at, "--at", zone_of(zone), now=now)
    if moment <= now:
        raise WrongUsage(
            f"--at cannot be {at!r}",
            details=f"it is {now - moment:.0f} s in the past",
            actions=("give a time to come", "or publish it now: `muster publish`"),
        )
    return timing(cron=None, at=moment, zone=zone, now=now)


def misfire_of(word: str) -> Misfire:
    """What becomes of missed ticks. Raises `WrongUsage`."""
    try:
        return Misfire(word)
    except ValueError as error:
        close = near(word, [one.value for one in Misfire], limit=1)
        raise WrongUsage(
            f"--misfire cannot be {word!r}",
            details=f"did you mean {close[0]}?" if close else "it is none of skip, once, all",
            actions=("give skip, once or all",),
        ) from error


def made(order: Order, said: Payload, when: Timing, misfire: Misfire, now: float) -> Schedule:
    """The schedule that was asked for, checked. Raises `WrongUsage`, `InvalidTopic`, `TooLarge`."""
    body = said.encoded()
    if not _NAME.fullmatch(order.name):
        raise _bad_name("schedule", order.name, "letters, digits, '.', '-' or '_'")
    if not (0 < len(order.tenant) <= 100 and order.tenant.isprintable()):
        raise _bad_name("tenant", order.tenant, "printable characters")
    if len(body) > MAX_BODY:
        raise TooLarge(
            f"the payload has {len(body)} bytes",
            details=f"a task may have {MAX_BODY}",
            actions=("put it into a file that all workers reach, and send its name",),
        )
    return Schedule(
        name=order.name,
        topic=publishable(order.topic),
        payload=_as_text(said, body),
        timing=when,
        misfire=misfire,
        tenant=order.tenant,
        priority=order.priority.value,
        deadline=_deadline(order.deadline) if order.deadline else None,
        budget=micro_dollars(order.budget),
        made=now,
        next=when.after(now),
    )


def _as_text(said: Payload, body: bytes) -> str:
    """JSON that a database takes: half a character is written as its escape."""
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return json.dumps(said.value, separators=(",", ":"))


def _bad_name(what: str, name: str, of: str) -> WrongUsage:
    return WrongUsage(
        f"{name[:40]!r} is not the name of a {what}",
        details=f"it takes 1 to 100 {of}",
        actions=(f"name the {what} so",),
    )


def _deadline(text: str) -> float:
    why = "it counts from each time the task is published"
    return times.some_time(text, "--deadline", why=why, such_as="5m")


def coming(schedule: Schedule) -> Iterator[float]:
    """The ticks to come, first those that are due and not published yet."""
    tick = schedule.next
    while tick is not None:
        yield tick
        tick = schedule.timing.after(tick)


def state_of(schedule: Schedule) -> str:
    """One word: `done` is one that will not tick again."""
    if schedule.next is None:
        return "done"
    if schedule.paused:
        return "paused"
    return "failing" if schedule.error else "active"


def as_shape(schedule: Schedule) -> dict[str, Any]:
    """For `--json`: times in UTC epoch seconds."""
    shape = asdict(schedule)
    when = shape.pop("timing")
    shape.pop("due")
    return {"state": state_of(schedule), **shape, **when}


def as_row(schedule: Schedule, now: float) -> list[object]:
    """A line of the table."""
    last = times.ago(now - schedule.last) + " ago" if schedule.last is not None else None
    coming_at = (
        times.iso(schedule.next, schedule.timing.zone) if schedule.next is not None else None
    )
    return [
        *(schedule.name, state_of(schedule), schedule.topic, _when(schedule)),
        *(schedule.timing.zone, coming_at, last, schedule.fired, schedule.error),
    ]


def _when(schedule: Schedule) -> str:
    return schedule.timing.cron or "once"


def as_text(schedule: Schedule, ticks: Sequence[float], now: float) -> str:
    """All of a schedule for a person."""
    zone = schedule.timing.zone
    pairs = [
        ("schedule", f"{schedule.name} ({state_of(schedule)})"),
        ("when", f"{_when(schedule)} in {zone}, missed ticks: {schedule.misfire}"),
        ("topic", f"{schedule.topic}, priority {schedule.priority}, tenant {schedule.tenant}"),
        ("payload", schedule.payload),
    ]
    if schedule.deadline is not None:
        pairs.append(("deadline", f"{schedule.deadline:g} s after each"))
    if schedule.budget is not None:
        pairs.append(("budget", f"${schedule.budget / 1e6:g} each"))
    if schedule.last is not None:
        said = f"{schedule.fired} so far, the last {times.ago(now - schedule.last)} ago"
        pairs.append(("fired", said))
    if schedule.error:
        pairs.append(("error", schedule.error))
    pairs += [("next" if n == 0 else "", times.iso(t, zone)) for n, t in enumerate(ticks)]
    return "\n".join(f"{head:<9} {said}" for head, said in pairs)
