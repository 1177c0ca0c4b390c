"""`muster doctor`: checks this machine, the roles, the bus and the history database."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli import output
from workers.cli.options import Given

if TYPE_CHECKING:
    from contracts.errors import MusterError
    from workers.cli.checks import Check


def doctor(
    ctx: typer.Context,
    monitor: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where the broker's server tells of itself."),
    ] = None,
) -> int:
    """Check everything a fleet stands on; what is not well says why it matters, and what to do.

    Exit code 3 where a service cannot be reached, 1 where anything is red.
    """
    from workers.cli import broker, checks, history_checks, machine
    from workers.cli.errors import code_of, three_lines

    given = Given.of(ctx)
    loaded = given.loaded()
    known = checks.roles(loaded)
    processes = max(1, checks.replicas(loaded))
    found = [
        *machine.machine(loaded, processes=processes),
        known,
        *asyncio.run(broker.bus(loaded, monitor=monitor)),
        *asyncio.run(history_checks.history(loaded)),
        *history_checks.unfinished(given, loaded),
    ]
    code = checks.code(found)
    if given.json:
        output.as_json({"checks": [check.as_json() for check in found], "exit_code": code})
        return code
    errors = [check.error for check in found if check.error is not None]
    worst = max(errors, key=code_of, default=None)
    _show(found, worst)
    if worst is not None:
        output.note(three_lines(worst))
    return code


def _show(found: "Sequence[Check]", worst: "MusterError | None") -> None:
    """A line for each; then what is not well, but for the worst, which comes last."""
    from workers.cli.checks import State

    rows = [[check.state, check.what, check.said] for check in found]
    red = {number for number, check in enumerate(found) if check.state is State.FAIL}
    output.table(["", "CHECK", "FOUND"], rows, red=red)
    for check in found:
        if check.state is State.OK or (worst is not None and check.error is worst):
            continue
        output.say(f"{check.state:<5}{check.what}: {output.printable(check.said)}")
        if check.reason:
            output.say(f"  why: {output.printable(check.reason)}")
        output.say(f"   do: {output.printable(check.do)}")
