"""`muster queue`: empty the queue of a role."""

from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli import completing
from workers.cli.options import Given
from workers.cli.steering import confirm, show, with_fleet

if TYPE_CHECKING:
    from workers.fleet.client import FleetClient

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.callback()
def queue() -> None:
    """What waits for a role."""


@app.command()
def purge(
    ctx: typer.Context,
    role: Annotated[str, typer.Argument(help="Whose queue.", autocompletion=completing.roles)],
    reason: Annotated[str, typer.Option(help="Why; told to whoever waits.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> int:
    """Cancel all that was published to a role until now, running tasks included. Its workers
    take the cancelled tasks out of the queue; its dead letters stay."""
    given = Given.of(ctx)

    async def look(fleet: "FleetClient") -> int | None:
        return await fleet.waiting(role)

    async def act(fleet: "FleetClient") -> int | None:
        return await fleet.purge(role, reason=reason)

    if not yes:
        waiting = with_fleet(given, look)
        confirm(f"Cancel {_many(waiting)} of {role}, and what runs?", yes=False)
    waiting = with_fleet(given, act)
    shown = waiting if given.json else f"{_many(waiting)} waited"
    show(given, {"done": "purged", "role": role, "waiting": shown})
    return 0


def _many(waiting: int | None) -> str:
    if waiting is None:
        return "all tasks"
    return f"{waiting:,} task{'' if waiting == 1 else 's'}"
