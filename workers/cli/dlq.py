"""`muster dlq`: dead letters, looked at, replayed and purged."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from contracts.errors import MusterError
from contracts.outcomes import Reason
from workers.cli import output, times
from workers.cli.errors import NotFound, WrongUsage, report
from workers.cli.options import Given

if TYPE_CHECKING:
    from bus.bus import Bus
    from bus.deadletters import DeadLetter

T = TypeVar("T")

_SHORTEST = 8
"""Characters of an id that stand for the whole one."""

app = typer.Typer(rich_markup_mode=None, add_completion=False)

RoleOption = Annotated[str | None, typer.Option("--role", help="Only of this role.")]
ReasonOption = Annotated[Reason | None, typer.Option("--reason", help="Only of this reason.")]


@app.callback()
def dlq() -> None:
    """Dead letters: tasks that will not run again by themselves."""


@app.command()
def ls(
    ctx: typer.Context,
    role: RoleOption = None,
    reason: ReasonOption = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
) -> None:
    """List dead letters, the latest first."""
    given = Given.of(ctx)
    found = _run(given, lambda bus: _letters(bus, role, reason))
    found.sort(key=lambda letter: letter.died, reverse=True)
    shown = found[:limit]
    if given.json:
        output.as_json([_shape(letter) for letter in shown])
        return
    now = time.time()
    columns = "ID ROLE TOPIC REASON AGE ATTEMPTS REPLAYS ERROR"
    output.table(columns.split(), (_cells(letter, now) for letter in shown))
    if len(found) > limit:
        output.note(f"{len(found) - limit} more: see them with --limit")


@app.command()
def show(
    ctx: typer.Context,
    task: Annotated[str, typer.Argument(metavar="ID", help="Its id, or 8 characters of it.")],
    role: RoleOption = None,
) -> None:
    """Show all of a dead letter: headers, body, error."""
    from workers.cli.letters import as_text

    given = Given.of(ctx)
    letters = _run(given, lambda bus: _find(bus, task, role))
    if not letters:
        raise NotFound(
            f"there is no dead letter {task!r}",
            details="it was never dead, or has been replayed or purged",
            actions=("list them: `muster dlq ls`",),
        )
    if given.json:
        output.as_json([_shape(letter, whole=True) for letter in letters])
        return
    for letter in letters:
        output.say(as_text(letter, time.time()))


@app.command()
def replay(
    ctx: typer.Context,
    tasks: Annotated[list[str] | None, typer.Argument(metavar="[ID]…")] = None,
    role: RoleOption = None,
    every: Annotated[bool, typer.Option("--all", help="All of --role.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also one replayed often.")] = False,
) -> int:
    """Give tasks back to their role with all their attempts."""
    given = Given.of(ctx)
    _check_choice(tasks or [], role, every)

    async def act(bus: "Bus", letter: "DeadLetter") -> None:
        await bus.dead.replay(letter.group, letter.id, now=time.time(), force=force)

    return _act(given, tasks or [], role, "replayed", act)


@app.command()
def purge(
    ctx: typer.Context,
    tasks: Annotated[list[str] | None, typer.Argument(metavar="[ID]…")] = None,
    role: RoleOption = None,
    every: Annotated[bool, typer.Option("--all", help="All of --role.")] = False,
) -> int:
    """Forget dead letters for good."""
    given = Given.of(ctx)
    _check_choice(tasks or [], role, every)

    async def act(bus: "Bus", letter: "DeadLetter") -> None:
        await bus.dead.purge(letter.group, letter.id)

    return _act(given, tasks or [], role, "purged", act)


def _check_choice(tasks: list[str], role: str | None, every: bool) -> None:
    if (every and (tasks or role is None)) or not (every or tasks):
        raise WrongUsage(
            "say which dead letters are meant",
            details="either ids, or --all with --role",
            actions=("list them: `muster dlq ls`",),
        )


def _act(
    given: Given,
    tasks: list[str],
    role: str | None,
    done: str,
    act: "Callable[[Bus, DeadLetter], Awaitable[None]]",
) -> int:
    """Do `act` with each letter meant; one that is refused does not stop the others."""

    async def run(bus: "Bus") -> int:
        letters = await _meant(bus, tasks, role, done)
        code = 0
        for letter in letters:
            try:
                await act(bus, letter)
            except MusterError as error:
                code = max(code, report(error, as_json=given.json, debug=given.debug))
            else:
                _tell(letter, done, as_json=given.json)
        return code

    return _run(given, run)


def _tell(letter: "DeadLetter", done: str, *, as_json: bool) -> None:
    if as_json:
        output.as_json_line({"id": letter.id, "role": letter.group, "done": done})
    else:
        output.say(f"{done} {letter.id} of {letter.group}")


async def _meant(bus: "Bus", tasks: list[str], role: str | None, done: str) -> "list[DeadLetter]":
    if not tasks:
        return await _letters(bus, role, None)
    found: list[DeadLetter] = []
    for task in tasks:
        letters = await _find(bus, task, role)
        if not letters:
            raise _not_dead(task, role, done)
        if len(letters) > 1:
            raise WrongUsage(
                f"{task} is a dead letter of several roles",
                details=", ".join(letter.group for letter in letters),
                actions=("say which with --role",),
            )
        found += letters
    return found


def _not_dead(task: str, role: str | None, done: str) -> MusterError:
    from bus.errors import NotDead

    of = f" of {role}" if role else ""
    return NotDead(
        f"{task} is not a dead letter{of}: it cannot be {done}",
        details="it was never dead, or has been replayed or purged already",
        actions=("list them: `muster dlq ls`",),
    )


async def _letters(bus: "Bus", role: str | None, reason: Reason | None) -> "list[DeadLetter]":
    return [letter async for letter in bus.dead.all(role or "") if reason in {None, letter.reason}]


async def _find(bus: "Bus", task: str, role: str | None) -> "list[DeadLetter]":
    """The letters of one task: one per role in which it died. Raises `WrongUsage` where the
    beginning of an id stands for several."""
    letters = await _letters(bus, role, None)
    exact = [letter for letter in letters if letter.id == task]
    if exact or len(task) < _SHORTEST:
        return exact
    begun = [letter for letter in letters if letter.id.startswith(task)]
    ids = sorted({letter.id for letter in begun})
    if len(ids) > 1:
        raise WrongUsage(
            f"{task} begins the ids of {len(ids)} dead letters",
            details=", ".join(ids[:4]),
            actions=("write more of the id",),
        )
    return begun


def _shape(letter: "DeadLetter", *, whole: bool = False) -> dict[str, Any]:
    names = "id group topic reason attempts copy worker died published replays state error"
    shape = {name: getattr(letter, name) for name in names.split()}
    shape["role"] = shape.pop("group")
    if whole:
        shape["headers"] = dict(letter.headers)
        shape["body"] = letter.body.decode("utf-8", "replace")
    return shape


def _cells(letter: "DeadLetter", now: float) -> list[object]:
    error = letter.error.partition("\n")[0]
    return [
        letter.id,
        letter.group,
        letter.topic,
        letter.reason,
        times.ago(now - letter.died),
        letter.attempts,
        letter.replays,
        error if len(error) <= 60 else error[:59] + "…",
    ]


def _run(given: Given, main: "Callable[[Bus], Coroutine[Any, Any, T]]") -> T:
    async def run() -> T:
        async with _bus(given) as bus:
            return await main(bus)

    return asyncio.run(run())


@asynccontextmanager
async def _bus(given: Given) -> "AsyncIterator[Bus]":
    from workers.wiring import open_bus

    bus = await open_bus(given.loaded())
    try:
        yield bus
    finally:
        await bus.close()
