"""`muster work`: one worker process in the foreground."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli import completing
from workers.cli.options import Given

if TYPE_CHECKING:
    from workers.sdk.role import Role

_KILL_AFTER = 5.0
"""Seconds beyond the drain that an orphan is given before it exits hard."""


def work(
    ctx: typer.Context,
    roles: Annotated[
        list[str],
        typer.Argument(
            metavar="ROLE…", help="Roles to work on.", autocompletion=completing.declared
        ),
    ],
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Tasks of each role at once.")
    ] = None,
    supervised: Annotated[bool, typer.Option("--supervised", hidden=True)] = False,
) -> None:
    """Work on roles in this process until Ctrl-C or SIGTERM, then drain.

    `recorder` and `scheduler` are service roles: one moves what happens into history, the other
    publishes what schedules say. Any number of each may run.
    """
    from workers import services, wiring
    from workers.fleet.supervised import end_with_supervisor, say_ready
    from workers.sdk.discovery import pick
    from workers.telemetry.logs import configure_logs

    loaded = Given.of(ctx).loaded()
    settings = loaded.settings
    service = services.named(roles)
    if supervised:
        end_with_supervisor(settings.fleet.drain + _KILL_AFTER)
    configure_logs(style=settings.log.format, level=settings.log.level)
    if service is not None:
        _run(service(loaded, say_ready if supervised else lambda *_: None))
        return
    known = wiring.all_roles(loaded, wanted=roles if supervised else ())
    chosen = [_with(role, concurrency) for role in pick(known, dict.fromkeys(roles))]
    if supervised:
        _run(wiring.work(loaded, chosen, ready=say_ready))
    else:
        _run(wiring.work(loaded, chosen))


def _with(role: "Role", concurrency: int | None) -> "Role":
    return role if concurrency is None else replace(role, concurrency=concurrency)


def _run(main: Coroutine[Any, Any, None]) -> None:
    """Run under uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)
