"""`muster task`: cancel, retry, and hear what happens."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contracts.events import Kind
from workers.cli import completing, times
from workers.cli.choosing import RoleOption
from workers.cli.errors import NotFound, WrongUsage
from workers.cli.options import Given
from workers.cli.steering import confirm, each, for_each, show, with_fleet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.fleet.client import FleetClient

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.callback()
def task() -> None:
    """Tasks under way, what happens to them, and dead ones that are wanted after all."""


@app.command()
def cancel(
    ctx: typer.Context,
    tasks: Annotated[list[str] | None, typer.Argument(metavar="[ID]…")] = None,
    role: Annotated[
        str | None,
        typer.Option(help="All published to this role so far.", autocompletion=completing.roles),
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="All of this tenant so far.")] = None,
    subject: Annotated[str | None, typer.Option(help="All about this subject so far.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of this fleet so far.")] = False,
    reason: Annotated[str, typer.Option(help="Why; told to whoever waits.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> int:
    """Stop tasks, queued, delayed or running; they end as cancelled and never run again. Of an id,
    history is asked afterwards whether there was anything to stop: none of that id is an error."""
    given = Given.of(ctx)
    chosen = {"role": role, "tenant": tenant, "subject": subject, "all": every or None}
    many = {name: value for name, value in chosen.items() if value is not None}
    if bool(tasks) + len(many) != 1:
        raise WrongUsage(
            "say which tasks are meant",
            details="either ids, or one of --role, --tenant, --subject and --all",
            actions=("cancel one kind after the other",),
        )
    if tasks:
        return _cancel_each(given, tasks, reason)
    confirm(f"Cancel {_named(many)} published so far?", yes=yes)

    async def act(fleet: "FleetClient") -> None:
        await fleet.cancel(role=role, tenant=tenant, subject=subject, every=every, reason=reason)

    with_fleet(given, act)
    show(given, {"done": "cancelled", "what": _named(many)})
    return 0


def _named(many: dict[str, Any]) -> str:
    ((kind, name),) = many.items()
    return "every task" if kind == "all" else f"every task of {kind} {name}"


def _cancel_each(given: Given, tasks: "Sequence[str]", reason: str) -> int:
    from workers.cli.fates import Fates

    loaded = given.loaded()

    async def run(fleet: "FleetClient") -> int:
        async with Fates(loaded) as fates:

            async def cancel(id_: str) -> dict[str, Any]:
                began = time.time()
                await fleet.cancel(id_, reason=reason)
                done, note = await fates.of(id_, began)
                return {"done": done, "id": id_, "note": note}

            return await each(given, tasks, cancel)

    return with_fleet(given, run)


@app.command("show")
def show_task(
    ctx: typer.Context,
    task: Annotated[str, typer.Argument(metavar="ID")],
) -> None:
    """Show how a task stands: its state in each role, its runs, what it got and gave."""
    from functools import partial

    from workers.cli import output, story
    from workers.cli.bearers import gone
    from workers.cli.past import with_history

    given = Given.of(ctx)
    ask = partial(gone, given)
    found = with_history(given, lambda history: story.told(history, task, ask))
    if given.json:
        output.as_json(story.as_json(found))
    else:
        story.show(found)


@app.command()
def ls(
    ctx: typer.Context,
    role: Annotated[str | None, typer.Option(help="Only of this role.")] = None,
    topic: Annotated[str | None, typer.Option(help="Only on this topic.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only of this tenant.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="Only in these states.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Published since: 2h ago as 2h, a time.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Published before.")] = None,
    text: Annotated[str | None, typer.Option(help="In id, topic, worker, reason, error.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 50,
) -> None:
    """List tasks, the latest first."""
    from knowledge.history.asking import Filter
    from workers.cli.listing import listed, state_named

    now = time.time()
    chosen = Filter(
        role=role,
        topic=topic,
        tenant=tenant,
        states=[state_named(name) for name in state or ()],
        since=times.past(since, "--since", now=now) if since is not None else None,
        until=times.past(until, "--until", now=now) if until is not None else None,
        text=text,
    )
    listed(Given.of(ctx), chosen, limit)


@app.command()
def reconcile(
    ctx: typer.Context,
    role: Annotated[
        str | None, typer.Option(help="Only of this role.", autocompletion=completing.roles)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Look at so many at most.")] = 1000,
) -> int:
    """Hold tasks that have not ended, and of which nothing was heard for a lease, against the bus.

    Changes nothing. A live task is never said to be lost. Exit code 1 where one is.
    """
    from workers.cli.reconciling import shown

    return shown(Given.of(ctx), role, limit)


@app.command()
def retry(
    ctx: typer.Context,
    tasks: Annotated[list[str], typer.Argument(metavar="ID…", autocompletion=completing.letters)],
    force: Annotated[bool, typer.Option("--force", help="Also one replayed often.")] = False,
) -> int:
    """Give dead tasks back to every role in which they are dead, with all their attempts."""

    async def act(fleet: "FleetClient", id_: str) -> dict[str, Any]:
        from bus.errors import NotDead

        try:
            letters = await fleet.retry(id_, force=force)
        except NotDead as error:
            raise NotFound(error.message, details=error.details, actions=error.actions) from error
        return {"done": "retried", "id": id_, "roles": " ".join(x.group for x in letters)}

    return for_each(Given.of(ctx), tasks, act)


@app.command()
def tail(
    ctx: typer.Context,
    task: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Of this task and what it calls.")
    ] = None,
    role: RoleOption = None,
    topic: Annotated[
        str | None,
        typer.Option(help="Only of these topics: support.#.", autocompletion=completing.topics),
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Only of this tenant.")] = None,
    kind: Annotated[list[Kind] | None, typer.Option(help="Only such events.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many.")] = None,
    seconds: Annotated[str | None, typer.Option("--for", help="End after: 30s, 5m.")] = None,
) -> None:
    """Show what happens to tasks while it happens, until Ctrl-C."""
    from workers.cli.tail import Wish, follow

    wish = Wish(
        task,
        role=role,
        topic=topic,
        tenant=tenant,
        kinds=tuple(kind or ()),
        limit=limit,
        seconds=_for(seconds) if seconds is not None else None,
    )
    follow(Given.of(ctx), wish)


def _for(text: str) -> float:
    return times.some_time(text, "--for", why="it counts from now on", such_as="30s")
