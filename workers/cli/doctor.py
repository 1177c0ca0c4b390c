"""`muster doctor`: checks this machine, the roles, the bus and the history database."""

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from workers.cli import output
from workers.cli.options import Given

if TYPE_CHECKING:
    from contracts.errors import MusterError
    from workers.cli.checks import Check


def doctor(ctx: typer.Context) -> int:
    """Check everything a fleet stands on; each line says ok, warn or fail, and what to do."""
    from workers.cli import checks, history_checks
    from workers.cli.errors import code_of, three_lines

    given = Given.of(ctx)
    loaded = given.loaded()
    found = [*checks.machine(loaded), checks.roles(loaded), *asyncio.run(checks.bus(loaded))]
    found += asyncio.run(history_checks.history(loaded))
    errors = [check.error for check in found if check.error is not None]
    code = max((code_of(error) for error in errors), default=0)
    if given.json:
        output.as_json({"checks": [_shape(check) for check in found], "exit_code": code})
        return code
    rows = [[check.state, check.what, check.said, check.do] for check in found]
    output.table(["", "CHECK", "FOUND", "WHAT TO DO"], rows)
    worst: MusterError | None = max(errors, key=code_of, default=None)
    if worst is not None:
        output.note(three_lines(worst))
    return code


def _shape(check: "Check") -> dict[str, object]:
    shape = asdict(check)
    shape.pop("error")
    return shape
