"""`muster pause` and `muster resume`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli import completing
from workers.cli.options import Given
from workers.cli.steering import for_each

if TYPE_CHECKING:
    from workers.fleet.client import FleetClient

Roles = Annotated[list[str], typer.Argument(metavar="ROLE…", autocompletion=completing.roles)]


def pause(
    ctx: typer.Context,
    roles: Roles,
    reason: Annotated[str, typer.Option(help="Why; kept with the pause.")] = "",
) -> int:
    """Keep roles from starting anything until they are resumed; what runs, runs on."""

    async def act(fleet: "FleetClient", role: str) -> dict[str, Any]:
        await fleet.pause(role, reason=reason)
        return {"done": "paused", "role": role}

    return for_each(Given.of(ctx), roles, act)


def resume(ctx: typer.Context, roles: Roles) -> int:
    """Let paused roles start tasks again."""

    async def act(fleet: "FleetClient", role: str) -> dict[str, Any]:
        paused = await fleet.resume(role)
        return {"done": "resumed", "role": role, "note": None if paused else "it was not paused"}

    return for_each(Given.of(ctx), roles, act)
