"""`muster schedule`: tasks that are published by the clock."""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from contracts.envelope import DEFAULT_TENANT, Priority
from workers.cli import output, times
from workers.cli.errors import Exists, NotFound
from workers.cli.options import Given
from workers.cli.past import with_kept
from workers.cli.planned import Order, as_row, as_shape, as_text, coming

if TYPE_CHECKING:
    from contracts.deeds import Deed
    from knowledge.schedules.rows import Schedule
    from knowledge.schedules.store import Schedules

T = TypeVar("T")

_COMING = 5
"""Times that are shown where a schedule is added or shown."""

app = typer.Typer(rich_markup_mode=None, add_completion=False)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name.")]


@app.callback()
def schedule() -> None:
    """Schedules: tasks published by the clock, each once, however many schedulers run."""


@app.command()
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="1 to 100 letters, digits, '.', '-' or '_'.")],
    topic: Annotated[str, typer.Argument(help="Dotted words, such as report.daily.")],
    payload: Annotated[str, typer.Argument(metavar="JSON|@FILE|-", help="What the task says.")],
    cron: Annotated[str | None, typer.Option(help="Such as '30 8 * * MON-FRI', @daily.")] = None,
    at: Annotated[str | None, typer.Option(help="Once: ISO time, epoch, duration.")] = None,
    tz: Annotated[str, typer.Option(help="Time zone, such as Europe/Berlin.")] = "UTC",
    misfire: Annotated[
        str, typer.Option(metavar="skip|once|all", help="What missed ticks become.")
    ] = "once",
    priority: Annotated[Priority, typer.Option(help="high, normal or low.")] = Priority.NORMAL,
    tenant: Annotated[str, typer.Option(help="Whose tasks they are.")] = DEFAULT_TENANT,
    deadline: Annotated[str | None, typer.Option(help="Unwanted after: 90s, 5m, 2h.")] = None,
    budget: Annotated[str | None, typer.Option(help="What each may cost, in dollars.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Change one that is there.")] = False,
) -> None:
    """Add a schedule and show when its next tasks are published."""
    from workers.cli import planned
    from workers.cli.payloads import read
    from workers.cli.publish import check_locally

    given, now = Given.of(ctx), time.time()
    order = Order(name, topic, tenant, priority, deadline=deadline, budget=budget)
    timing = planned.timing_of(cron, at, tz, now)
    body = read(payload, lines=False)
    made = planned.made(order, body[0], timing, planned.misfire_of(misfire), now)
    loaded = given.loaded()
    check_locally(loaded, topic, body)
    deed = _deed("schedule add", name, now)
    if not _run(given, lambda kept: kept.add(made, replace=replace, deed=deed)):
        raise Exists(
            f"there is a schedule {name!r} already",
            details="a schedule is known by its name",
            actions=("change it with --replace", "or take another name"),
        )
    _show(given, made, now)


@app.command()
def ls(
    ctx: typer.Context,
    tenant: Annotated[str | None, typer.Option(help="Only of this tenant.")] = None,
) -> None:
    """List schedules by name."""
    given, now = Given.of(ctx), time.time()
    found = _run(given, lambda kept: kept.all(tenant))
    if given.json:
        output.as_json([as_shape(one) for one in found])
        return
    columns = "NAME STATE TOPIC WHEN ZONE NEXT LAST FIRED ERROR".split()
    red = {number for number, one in enumerate(found) if one.error}
    output.table(columns, (as_row(one, now) for one in found), red=red)


@app.command()
def show(ctx: typer.Context, name: Name) -> None:
    """Show all of a schedule, and when its next tasks are published."""
    given = Given.of(ctx)
    _show(given, _found(name, _run(given, lambda kept: kept.get(name))), time.time())


@app.command("next")
def upcoming(
    ctx: typer.Context,
    name: Name,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, max=1000, help="So many.")
    ] = _COMING,
) -> None:
    """Show when the next tasks of a schedule are published, also of a paused one."""
    given = Given.of(ctx)
    found = _found(name, _run(given, lambda kept: kept.get(name)))
    ticks = list(islice(coming(found), count))
    if given.json:
        output.as_json([{"at": tick, "time": times.iso(tick, found.timing.zone)} for tick in ticks])
        return
    for tick in ticks:
        output.say(times.iso(tick, found.timing.zone))


@app.command()
def pause(ctx: typer.Context, name: Name) -> None:
    """Let it publish nothing until it is resumed; what passes meanwhile is left out."""
    given, deed = Given.of(ctx), _deed("schedule pause", name, time.time())
    if not _run(given, lambda kept: kept.pause(name, deed)):
        raise _missing(name)
    _done(given, name, "paused")


@app.command()
def resume(ctx: typer.Context, name: Name) -> None:
    """Let a paused schedule go on from now."""
    given, now = Given.of(ctx), time.time()
    deed = _deed("schedule resume", name, now)
    _show(given, _found(name, _run(given, lambda kept: kept.resume(name, now, deed))), now)


@app.command()
def rm(ctx: typer.Context, name: Name) -> None:
    """Forget a schedule. Tasks that were published stay."""
    given, deed = Given.of(ctx), _deed("schedule rm", name, time.time())
    if not _run(given, lambda kept: kept.remove(name, deed)):
        raise _missing(name)
    _done(given, name, "removed")


def _deed(action: str, name: str, now: float) -> "Deed":
    from contracts.deeds import Action, Scope
    from workers.fleet.operator import deed

    return deed(Action(action), now, Scope.SCHEDULE, name)


def _run(given: Given, act: "Callable[[Schedules], Awaitable[T]]") -> T:
    from workers.scheduling import open_schedules

    return with_kept(partial(open_schedules, given.loaded()), act)


def _found(name: str, schedule: "Schedule | None") -> "Schedule":
    if schedule is None:
        raise _missing(name)
    return schedule


def _missing(name: str) -> NotFound:
    return NotFound(
        f"there is no schedule {name!r}",
        details="it was never added, or has been removed",
        actions=("list them: `muster schedule ls`",),
    )


def _show(given: Given, schedule: "Schedule", now: float) -> None:
    ticks = list(islice(coming(schedule), _COMING))
    if given.json:
        output.as_json({**as_shape(schedule), "coming": ticks})
        return
    output.say(as_text(schedule, ticks, now))


def _done(given: Given, name: str, what: str) -> None:
    if given.json:
        output.as_json({"name": name, "state": what})
    else:
        output.say(f"{what}: {name}")
