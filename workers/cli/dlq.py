"""`muster dlq`: dead letters, looked at, changed, replayed and purged."""

import heapq
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contracts.limits import parse_rate
from workers.cli import choosing, completing, letters, output
from workers.cli.choosing import (
    Choice,
    NewerOption,
    OlderOption,
    ReasonOption,
    RoleOption,
    TenantOption,
    TextOption,
)
from workers.cli.connected import with_bus
from workers.cli.errors import NotFound
from workers.cli.options import Given

if TYPE_CHECKING:
    from bus.bus import Bus
    from bus.deadletters import DeadLetter
    from contracts.deeds import Action, Deed

app = typer.Typer(rich_markup_mode=None, add_completion=False)

TasksArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]…", autocompletion=completing.letters)
]
TaskArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="Its id, or 8 characters of it.", autocompletion=completing.letters
    ),
]
AllOption = Annotated[bool, typer.Option("--all", help="All of --role.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Also one replayed often.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Only show what is meant.")]


@app.callback()
def dlq() -> None:
    """Dead letters: tasks that will not run again by themselves."""


@app.command()
def ls(
    ctx: typer.Context,
    role: RoleOption = None,
    reason: ReasonOption = None,
    tenant: TenantOption = None,
    text: TextOption = None,
    older: OlderOption = None,
    newer: NewerOption = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
) -> None:
    """List dead letters, the latest first."""
    given = Given.of(ctx)
    choice = _choice(role, reason=reason, tenant=tenant, text=text, older=older, newer=newer)
    shown, whole = with_bus(given, lambda bus: _latest(bus, choice, limit))
    if given.json:
        output.as_json([letters.shape(letter) for letter in shown])
        return
    letters.table(shown, time.time())
    if whole > limit:
        output.note(f"{whole - limit} more: see them with --limit")


async def _latest(bus: "Bus", choice: Choice, limit: int) -> "tuple[list[DeadLetter], int]":
    """The latest of the letters meant, and how many there are of them."""
    latest: list[tuple[float, str, str, DeadLetter]] = []
    whole = 0
    async for letter in bus.dead.all(choice.role or ""):
        if choice.takes(letter):
            whole += 1
            entry = (letter.died, letter.id, letter.group, replace(letter, body=b""))
            (heapq.heappush if len(latest) < limit else heapq.heappushpop)(latest, entry)
    return [entry[-1] for entry in sorted(latest, reverse=True)], whole


@app.command()
def show(
    ctx: typer.Context,
    task: TaskArgument,
    role: RoleOption = None,
) -> None:
    """Show all of a dead letter: headers, body, error."""
    given = Given.of(ctx)
    found = with_bus(given, lambda bus: choosing.find(bus, task, role))
    if not found:
        raise NotFound(
            f"there is no dead letter {task!r}",
            details="it was never dead, or has been replayed or purged",
            actions=("list them: `muster dlq ls`",),
        )
    if given.json:
        output.as_json([letters.shape(letter, whole=True) for letter in found])
        return
    for letter in found:
        output.say(letters.as_text(letter, time.time()))


@app.command()
def edit(
    ctx: typer.Context,
    task: TaskArgument,
    role: RoleOption = None,
    payload: Annotated[
        str | None, typer.Option(metavar="JSON|@FILE|-", help="The payload, without an editor.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Change it, replay it later.")] = False,
    force: ForceOption = False,
    yes: YesOption = False,
) -> int:
    """Change the payload of a dead letter in $VISUAL or $EDITOR, then replay it.

    A payload that is not JSON, or does not fit the role as far as its code is here, is not taken;
    what was typed is kept in a file.
    """
    from workers.cli.editing import Wish, change

    wish = Wish(task, role, payload=payload, keep=keep, force=force, yes=yes)
    return change(Given.of(ctx), wish)


@app.command()
def replay(
    ctx: typer.Context,
    tasks: TasksArgument = None,
    role: RoleOption = None,
    reason: ReasonOption = None,
    tenant: TenantOption = None,
    text: TextOption = None,
    older: OlderOption = None,
    newer: NewerOption = None,
    every: AllOption = False,
    rate: Annotated[str | None, typer.Option(help="No faster than 10/s, 100/min.")] = None,
    force: ForceOption = False,
    dry_run: DryOption = False,
) -> int:
    """Give tasks back to their role with all their attempts.

    Ctrl-C ends it between two letters, and says how to go on.
    """
    from contracts.deeds import Action
    from workers.cli.acting import Order, do_with

    choice = _choice(role, reason=reason, tenant=tenant, text=text, older=older, newer=newer)
    choosing.check(tasks or [], choice, every=every)
    deed = _deed(Action.REPLAY, choice, forced=force, rate=rate)

    async def act(bus: "Bus", letter: "DeadLetter") -> None:
        replay, now = bus.dead.replay, time.time()
        await replay(letter.group, letter.id, now=now, force=force, by=deed.by, deed=deed)

    pace = parse_rate(rate) if rate is not None else None
    options = " --force" * force + (f" --rate {rate}" if rate else "")
    order = Order(
        "replay", "replayed", act, rate=pace, options=options, guard=not force, waits=True
    )
    return do_with(Given.of(ctx), tasks or [], choice, order, dry_run=dry_run)


@app.command()
def purge(
    ctx: typer.Context,
    tasks: TasksArgument = None,
    role: RoleOption = None,
    reason: ReasonOption = None,
    tenant: TenantOption = None,
    text: TextOption = None,
    older: OlderOption = None,
    newer: NewerOption = None,
    every: AllOption = False,
    dry_run: DryOption = False,
    yes: YesOption = False,
) -> int:
    """Forget dead letters for good."""
    from contracts.deeds import Action
    from workers.cli.acting import Order, do_with

    choice = _choice(role, reason=reason, tenant=tenant, text=text, older=older, newer=newer)
    choosing.check(tasks or [], choice, every=every)

    deed = _deed(Action.PURGE, choice)

    async def act(bus: "Bus", letter: "DeadLetter") -> None:
        gone = await bus.dead.purge(letter.group, letter.id)
        await bus.tell_deed(deed.to(gone.id, gone.group, gone.copy))

    order = Order("purge", "purged", act, asks=not yes)
    return do_with(Given.of(ctx), tasks or [], choice, order, dry_run=dry_run)


def _deed(action: "Action", choice: Choice, **said: Any) -> "Deed":
    """What is told of each letter this command does it to: one deed in parts."""
    from contracts.deeds import Scope
    from workers.fleet.operator import deed

    target = choice.options() if choice.narrows else ""
    return deed(action, time.time(), Scope.LETTERS, target, role=choice.role or "", **said)


def _choice(role: str | None, **options: Any) -> Choice:
    return Choice.of(role, **options, now=time.time())
