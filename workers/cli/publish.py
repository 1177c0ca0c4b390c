"""`muster publish`: one task, or a file of them; waits for results where asked."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.envelope import Priority
from contracts.errors import MusterError
from workers.cli import completing, output, times
from workers.cli.errors import PastDeadline, WrongUsage
from workers.cli.options import Given
from workers.cli.payloads import Payload, read, refused

if TYPE_CHECKING:
    from workers.fleet.client import FleetClient, Task
    from workers.fleet.options import Options
    from workers.settings import Loaded

TopicArgument = Annotated[
    str,
    typer.Argument(
        help="Dotted words, such as code.review.python.", autocompletion=completing.topics
    ),
]

AT_ONCE = 500
"""Tasks of one call to the broker."""

_LONG = 2_000
"""Tasks from which a progress bar is worth its place."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to publish, checked as far as it can be without a bus."""

    topic: str
    payloads: Sequence[Payload]
    options: "Options"
    _: KW_ONLY
    wait: bool
    timeout: float | None
    json: bool


def publish(
    ctx: typer.Context,
    topic: TopicArgument,
    payload: Annotated[str, typer.Argument(metavar="JSON|@FILE|-", help="What the task says.")],
    priority: Annotated[Priority, typer.Option(help="high, normal or low.")] = Priority.NORMAL,
    delay: Annotated[str | None, typer.Option(help="Start after: 90, 90s, 5m, 2h.")] = None,
    at: Annotated[str | None, typer.Option(help="Start at: ISO time, epoch, duration.")] = None,
    deadline: Annotated[str | None, typer.Option(help="Unwanted after: as --at.")] = None,
    key: Annotated[str | None, typer.Option(help="Equal keys name one task.")] = None,
    key_for: Annotated[str, typer.Option(help="How long the key holds: 90s, 5m, 7d.")] = "1d",
    budget: Annotated[str | None, typer.Option(help="What it may cost, in dollars.")] = None,
    tenant: Annotated[str, typer.Option(help="Whose task it is.")] = "default",
    lines: Annotated[bool, typer.Option("--lines", help="One task per line of JSON.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress, then the result.")] = False,
    timeout: Annotated[str | None, typer.Option(help="How long --wait waits.")] = None,
) -> int:
    """Publish a task and print its id; with --lines a file of them.

    A payload is checked here when its role is known in this folder, else by the worker.
    """
    given = Given.of(ctx)
    _check_together(key=key, lines=lines, wait=wait, timeout=timeout, delay=delay, at=at)
    options = _options(
        priority=priority,
        delay=delay,
        at=at,
        deadline=deadline,
        key=key,
        key_for=key_for,
        budget=budget,
        tenant=tenant,
        reply=wait or not lines,
        stream=wait,
    )
    limit = times.seconds(timeout, "--timeout") if timeout else None
    payloads = read(payload, lines=lines)
    order = Order(_topic(topic), payloads, options, wait=wait, timeout=limit, json=given.json)
    return _checked_and_published(given.loaded(), order)


def _checked_and_published(loaded: "Loaded", order: Order) -> int:
    check_locally(loaded, order.topic, order.payloads)
    return asyncio.run(_publish(loaded, order))


def _topic(topic: str) -> str:
    from contracts.topics import publishable

    return publishable(topic)


def _options(
    *,
    priority: Priority,
    delay: str | None,
    at: str | None,
    deadline: str | None,
    key: str | None,
    key_for: str,
    budget: str | None,
    tenant: str,
    reply: bool,
    stream: bool,
) -> "Options":
    from workers.fleet.options import Options

    now = time.time()
    start = _start(delay, at, now)
    return Options(
        priority=priority,
        at=start,
        deadline=_deadline(deadline, start, now),
        key=key,
        key_for=_hold(key_for),
        budget=micro_dollars(budget),
        tenant=tenant,
        reply=reply,
        stream=stream,
    )


def _check_together(
    *,
    key: str | None,
    lines: bool,
    wait: bool,
    timeout: str | None,
    delay: str | None,
    at: str | None,
) -> None:
    wrong = None
    if key is not None and lines:
        wrong = ("--key and --lines", "a key names one task, and a file has many")
    elif timeout is not None and not wait:
        wrong = ("--timeout without --wait", "nobody waits")
    elif delay is not None and at is not None:
        wrong = ("--delay and --at", "both say when the task may start")
    if wrong is not None:
        raise WrongUsage(
            f"{wrong[0]} do not go together", details=wrong[1], actions=("leave one out",)
        )


def _start(delay: str | None, at: str | None, now: float) -> float | None:
    if delay is not None:
        later = times.seconds(delay, "--delay")
        if later < 0:
            raise WrongUsage(
                f"--delay cannot be {delay!r}",
                details="a delay counts from now on",
                actions=("give 0 or more",),
            )
        return now + later if later else None
    return times.moment(at, "--at", now=now) if at is not None else None


def _hold(text: str) -> float:
    """Seconds a key holds."""
    why = "a key holds for some time from now on"
    return times.some_time(text, "--key-for", why=why, such_as="1d")


def _deadline(text: str | None, start: float | None, now: float) -> float | None:
    """Seconds from now; raises `PastDeadline` for one that cannot be met."""
    if text is None:
        return None
    moment = times.moment(text, "--deadline", now=now)
    if moment <= now:
        raise PastDeadline(
            f"the deadline {text} has passed",
            details=f"it lies {now - moment:.0f} s in the past: nobody would want the result",
            actions=("give a deadline in the future",),
        )
    if start is not None and moment <= start:
        raise PastDeadline(
            f"the deadline {text} passes before the task may start",
            details=f"it may start {start - moment:.0f} s later",
            actions=("give a later deadline, or an earlier start",),
        )
    return moment - now


def micro_dollars(text: str | None) -> int | None:
    """An amount of dollars in micro-dollars. Raises `WrongUsage`."""
    if text is None:
        return None
    try:
        amount = Decimal(text.removeprefix("$"))
        if amount.is_finite() and amount >= 0:
            return int(amount * 1_000_000)
    except InvalidOperation:
        pass
    raise WrongUsage(
        f"--budget cannot be {text!r}",
        details="it is not an amount of dollars from 0 on",
        actions=("write it as 0.25",),
    )


def check_locally(loaded: "Loaded", topic: str, payloads: Sequence[Payload]) -> None:
    """Refuse payloads that do not fit a role of this folder which would get them.

    Roles that cannot be imported here are left to the worker: a caller needs none.
    """
    from contracts.topics import matches_any
    from workers.sdk.errors import InvalidPayload, RoleError
    from workers.wiring import all_roles

    try:
        roles = all_roles(loaded)
    except RoleError:
        return
    bad: list[MusterError] = []
    for role in roles.values():
        if not matches_any(role.listens, topic):
            continue
        for payload in payloads:
            try:
                role.read(payload.encoded())
            except InvalidPayload as error:
                if not payload.line:
                    raise
                bad.append(InvalidPayload(error.message, details=_named(payload, error)))
    if bad:
        raise refused(bad)


def _named(payload: Payload, error: MusterError) -> str:
    return f"line {payload.line}: {error.details}"


async def _publish(loaded: "Loaded", order: Order) -> int:
    from contracts.clock import SystemClock
    from workers.cli import waiting
    from workers.fleet.client import FleetClient
    from workers.reporting import client_tracing
    from workers.wiring import open_bus

    tracing = client_tracing(loaded)
    async with FleetClient(await open_bus(loaded), SystemClock(), tracing=tracing) as fleet:
        tasks = await _send(fleet, order)
        if order.wait:
            return await waiting.results(fleet, tasks, order.timeout, as_json=order.json)
    return 0


async def _send(fleet: "FleetClient", order: Order) -> "list[Task]":
    """Publish in calls of `AT_ONCE`; ids are printed as soon as their tasks are safe."""
    from rich.progress import Progress

    tasks: list[Task] = []
    with Progress(
        console=output.console(errors=True), disable=len(order.payloads) < _LONG, transient=True
    ) as bar:
        shown = bar.add_task("published", total=len(order.payloads))
        for start in range(0, len(order.payloads), AT_ONCE):
            batch = [(order.topic, p.value) for p in order.payloads[start : start + AT_ONCE]]
            try:
                accepted = await fleet.publish_many(batch, order.options)
            except MusterError as error:
                if start:
                    error.details += f"; the first {start} are published"
                raise
            tasks += accepted
            bar.advance(shown, len(accepted))
            for task in accepted:
                _show(task, order)
    return tasks


def _show(task: "Task", order: Order) -> None:
    if order.wait:
        known = ", published before under its key" if task.repeated else ""
        output.note(f"task {task.id}{known}")
    elif order.json:
        shape = {"id": task.id, "topic": task.topic, "repeated": task.repeated}
        output.as_json_line(shape)
    else:
        output.say(task.id)
