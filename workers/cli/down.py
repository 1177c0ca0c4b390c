"""`muster down`: ends what `up` started in a folder."""

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from workers.cli import output
from workers.cli.options import Given

if TYPE_CHECKING:
    import psutil

    from workers.fleet.standing import Standing
    from workers.settings import Loaded

_KILL_SECONDS = 5.0
_LOOK_EVERY = 0.02
_SLACK = 10.0
"""Seconds the supervisor has beyond its workers' time to drain and be killed."""


def down(ctx: typer.Context) -> int:
    """Let the workers of this folder finish, then end them, their supervisor, bus and history.

    What waits on the bus stays there for the next `up`. Nothing running is no error.
    """
    from workers.cli import services
    from workers.fleet import standing

    given = Given.of(ctx)
    loaded = given.loaded()
    found = standing.find(loaded.state)
    ended = _end_fleet(found, loaded) if found is not None else []
    standing.forget(loaded.state)
    for service in services.every(loaded):
        if service.stop(loaded.state) and service.name not in ended:
            ended.append(service.name)
    if given.json:
        output.as_json({"ended": ended})
    else:
        output.say(f"ended: {', '.join(ended)}" if ended else "nothing runs here")
    return 0


def _end_fleet(found: "Standing", loaded: "Loaded") -> list[str]:
    """End the supervisor, which ends its workers; then those it left behind, if it was killed."""
    from workers.fleet import standing

    drain = loaded.settings.fleet.drain
    workers = [standing.process(kept.pid, kept.created) for kept in found.workers]
    ended = [k.role for k, process in zip(found.workers, workers, strict=True) if process]
    supervisor = standing.process(found.pid, found.created)
    if supervisor is not None:
        _end([supervisor], patience=drain + _SLACK)
        ended += ["supervisor", *found.owns]
    _end([process for process in workers if process], patience=drain)
    return ended


def _end(processes: "list[psutil.Process]", *, patience: float) -> None:
    """Ask each to end, wait, kill what is left."""
    import psutil

    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    left = _left(processes, patience)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _left(left, _KILL_SECONDS)


def _left(processes: "list[psutil.Process]", seconds: float) -> "list[psutil.Process]":
    """Those that still live after so many seconds; returns at once when there are none. One that
    has ended counts as such before its parent, whichever that is now, has taken notice."""
    until = time.monotonic() + seconds
    while (alive := [p for p in processes if _lives(p)]) and time.monotonic() < until:
        time.sleep(_LOOK_EVERY)
    return alive


def _lives(process: "psutil.Process") -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
