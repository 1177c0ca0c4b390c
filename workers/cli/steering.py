"""What the commands share that change tasks under way: a fleet, a question, a line for each."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from contracts.errors import MusterError
from workers.cli import output
from workers.cli.errors import Interrupted, Unconfirmed, report
from workers.cli.options import Given

if TYPE_CHECKING:
    from workers.fleet.client import FleetClient

T = TypeVar("T")


def with_fleet(given: Given, main: "Callable[[FleetClient], Coroutine[Any, Any, T]]") -> T:
    """What `main` returns, given a client of the fleet."""

    async def run() -> T:
        from contracts.clock import SystemClock
        from workers.fleet.client import FleetClient
        from workers.wiring import open_bus

        async with FleetClient(await open_bus(given.loaded()), SystemClock()) as fleet:
            return await main(fleet)

    return asyncio.run(run())


def confirm(question: str, *, yes: bool) -> None:
    """Return when a person agrees, or `yes` was given. Raises `Unconfirmed` where nobody can
    be asked, `Interrupted` for a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Unconfirmed(
            f"nobody can be asked: {question}",
            details="a person has to agree, and standard input is no terminal",
            actions=("repeat it with --yes",),
        )
    output.note(f"{question} [y/N] ", end="")
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise Interrupted(
            "nothing was done",
            details="the answer was no",
            actions=("see what waits: `muster ps`",),
        )


def for_each(
    given: Given,
    names: Sequence[str],
    act: "Callable[[FleetClient, str], Coroutine[Any, Any, dict[str, Any]]]",
) -> int:
    """Do `act` for each name by a client of the fleet; see `each`. The exit code."""
    return with_fleet(given, lambda fleet: each(given, names, partial(act, fleet)))


async def each(
    given: Given, names: Sequence[str], act: Callable[[str], Coroutine[Any, Any, dict[str, Any]]]
) -> int:
    """Do `act` for each name and show what it says was done (`done`, with `name` and more); one
    that is refused does not stop the others. The exit code."""
    code = 0
    for name in dict.fromkeys(names):
        try:
            said = await act(name)
        except MusterError as error:
            code = max(code, report(error, as_json=given.json, debug=given.debug))
        else:
            show(given, said)
    return code


def show(given: Given, said: dict[str, Any]) -> None:
    """A line about what was done: what, to whom, and more in brackets."""
    if given.json:
        output.as_json_line(said)
        return
    done, name, *more = (value for value in said.values() if value is not None)
    output.say(f"{done} {name}" + (f" ({', '.join(map(str, more))})" if more else ""))
