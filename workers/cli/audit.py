"""`muster audit`: who did what to this fleet, and when."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.deeds import Action
from contracts.topics import near
from workers.cli import completing, output, times
from workers.cli.errors import WrongUsage
from workers.cli.options import Given
from workers.cli.past import first, with_history

if TYPE_CHECKING:
    from knowledge.history.deeds import DeedFilter
    from knowledge.history.history import History
    from knowledge.history.records import DeedRecord, Watermark

_BEHIND = 2.0
"""Seconds that history may be behind before it is said."""


def audit(
    ctx: typer.Context,
    since: Annotated[
        str | None, typer.Option(metavar="AGE|TIME", help="Done since: 2h ago as 2h, a time.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="AGE|TIME", help="Done before.")] = None,
    who: Annotated[str | None, typer.Option(help="Only by this user, or user@host.")] = None,
    what: Annotated[
        str | None, typer.Option(help="Only such deeds: dlq, 'dlq replay', pause, scale, …")
    ] = None,
    role: Annotated[
        str | None,
        typer.Option(help="Only about this role.", autocompletion=completing.roles),
    ] = None,
    task: Annotated[str | None, typer.Option(metavar="ID", help="Only to this task.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 50,
) -> None:
    """List what operators did, the latest first: who, when, to what, and how many it met.

    What was done a moment ago is waited for, two seconds at most.
    """
    from knowledge.history.deeds import DeedFilter

    now = time.time()
    chosen = DeedFilter(
        by=who,
        action=_known(what) if what is not None else None,
        role=role,
        task=task,
        since=times.past(since, "--since", now=now) if since is not None else None,
        until=times.past(until, "--until", now=now) if until is not None else None,
    )
    _show(Given.of(ctx), chosen, limit)


def _show(given: Given, chosen: "DeedFilter", limit: int) -> None:
    found, more, mark = with_history(given, lambda history: _all(history, chosen, limit))
    if given.json:
        output.as_json([asdict(deed) for deed in found])
    else:
        table(found)
        if more:
            output.note("there are more: see them with --limit")
    if mark.behind > _BEHIND:
        output.note(_late(mark))


def _known(what: str) -> str:
    """`what`, if a deed is called so or begins with that word. Raises `WrongUsage`."""
    names = {str(action) for action in Action} | {action.split()[0] for action in Action}
    if what in names:
        return what
    close = near(what, names, limit=1)
    raise WrongUsage(
        f"nothing that is done is called {what!r}",
        details=f"did you mean {close[0]}?" if close else "none is like it",
        actions=(f"name one of {', '.join(Action)}, or the first word of one",),
    )


async def _all(
    history: "History", chosen: "DeedFilter", limit: int
) -> "tuple[list[DeedRecord], bool, Watermark]":
    """The first `limit`, whether there are more, and how far history reached before."""
    mark = await history.catch_up()
    found, more = await first(
        lambda after, most: history.audit(chosen, after=after, limit=most), limit
    )
    return found, more, mark


def table(deeds: "Sequence[DeedRecord]") -> None:
    """A line for each."""
    columns = "WHEN WHO WHAT ROLE ON COUNT CHANGE SAID".split()
    output.table(columns, [_cells(deed) for deed in deeds])


def _cells(deed: "DeedRecord") -> list[object]:
    when = times.clock_time(deed.at)
    change = f"{deed.before} → {deed.after}" if deed.after else deed.before
    return [when, deed.by, deed.action, deed.role, _on(deed), deed.count, change, said(deed)]


def _on(deed: "DeedRecord") -> str:
    if deed.scope == "fleet":
        return "every task"
    if deed.scope == "role" and deed.target == deed.role:
        return ""
    if deed.target:
        return deed.target if deed.scope in {"task", "letters"} else f"{deed.scope} {deed.target}"
    more = (deed.count or 0) - 1
    return f"{deed.tasks[0]}{f' and {more} more' if more > 0 else ''}" if deed.tasks else ""


def said(deed: "DeedRecord") -> str:
    """The reason that was given, and what else was told of it."""
    details = deed.details if isinstance(deed.details, dict) else {}
    rest = [
        name if value is True else f"{name} {value}"
        for name, value in details.items()
        if name != "reason"
    ]
    return ", ".join([*([str(details["reason"])] if "reason" in details else []), *rest])


def _late(mark: "Watermark") -> str:
    if not mark.upto:
        return "history has recorded nothing yet: see that a recorder runs (`muster ps`)"
    return f"history is {mark.behind:.0f} s behind: what was done since then may be missing"
