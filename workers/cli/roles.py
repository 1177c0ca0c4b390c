"""`muster roles`: what is bound to what, who is a member, and how a role is retired."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contracts.topics import RECORDER, SCHEDULER
from workers.cli import completing, output, times
from workers.cli.connected import with_bus
from workers.cli.errors import NotFound
from workers.cli.options import Given
from workers.cli.ps import LANES, Row, bound_groups, heard
from workers.cli.steering import confirm, show, with_fleet
from workers.fleet.listening import PREFIX

if TYPE_CHECKING:
    from bus.bus import Bus
    from bus.stops import Mark
    from workers.fleet.client import FleetClient
    from workers.fleet.presence import Alive
    from workers.sdk.role import Role

app = typer.Typer(rich_markup_mode=None, add_completion=False)

RoleArgument = Annotated[str, typer.Argument(metavar="ROLE", autocompletion=completing.roles)]


@dataclass(frozen=True, slots=True)
class Found:
    """What the bus tells of one role. `asked`: what each version of it asks for that was there in
    the last minute; `seen`: when a worker was last there, UTC epoch seconds, None if never."""

    row: Row
    members: "tuple[Alive, ...]"
    asked: tuple[tuple[str, ...], ...]
    seen: float | None
    pause: "Mark | None"
    deserted: bool
    dead: int | None = None

    @property
    def state(self) -> str:
        """In a word or two."""
        if self.deserted:
            return "no worker for a day"
        if self.pause is not None:
            return "paused"
        if self.row.role == RECORDER and self.members:
            return "moves events into history"
        if self.row.role == SCHEDULER and self.members:
            return "publishes by the clock"
        if self.row.role.startswith(PREFIX):
            return "only listens"
        return "" if self.members else "nobody works"

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        found = {
            **asdict(self.row),
            "paused": self.pause is not None,
            "pause": asdict(self.pause) if self.pause else None,
            "versions": [list(asked) for asked in self.asked],
            "members": [asdict(member) for member in self.members],
            "concurrency": _concurrency(self.members),
            "limits": _limits(self.members),
            "seen": self.seen,
            "deserted": self.deserted,
        }
        return found if self.dead is None else {**found, "dead": self.dead}


@app.callback()
def roles() -> None:
    """What is bound to what, and what works on it."""


@app.command()
def ls(ctx: typer.Context) -> None:
    """List the roles that are bound, or work."""
    given = Given.of(ctx)
    found = with_bus(given, _all)
    if given.json:
        output.as_json([each.as_json() for each in found])
        return
    columns = "ROLE LISTENS WORKERS VERSIONS CONCURRENCY LIMITS WAITING SEEN STATE".split()
    now = time.time()
    red = {number for number, each in enumerate(found) if each.deserted}
    output.table(columns, [_cells(each, now) for each in found], red=red)


@app.command(name="show")
def show_one(ctx: typer.Context, role: RoleArgument) -> None:
    """Show one role: its patterns, versions, members, limits, and what waits for it."""
    given = Given.of(ctx)

    async def look(bus: "Bus") -> Found:
        found = [each for each in await _all(bus, counted=role) if each.row.role == role]
        return found[0] if found else await _unknown(bus, role)

    found = with_bus(given, look)
    code = _code(given, role)
    if given.json:
        output.as_json({**found.as_json(), "code": _code_shape(code) if code else None})
        return
    _show(found, code, time.time())


@app.command()
def rm(
    ctx: typer.Context,
    role: RoleArgument,
    drop: Annotated[bool, typer.Option("--drop", help="Lose what waits for it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> int:
    """Retire a role: what only it listens to is refused from then on.

    Refused while a worker of it lives, and while anything waits unless --drop; what is dropped has
    no outcome. Its dead letters stay.
    """
    given = Given.of(ctx)

    async def look(fleet: "FleetClient") -> int | None:
        return await fleet.waiting(role)

    waiting = with_fleet(given, look)
    lost = f" and lose {_many(waiting)}" if drop and waiting != 0 else ""
    confirm(f"Retire {role}{lost}?", yes=yes)

    async def act(fleet: "FleetClient") -> None:
        from bus.errors import Conflict

        try:
            await fleet.retire(role, drop=drop)
        except Conflict as error:
            error.message = f"{_many(waiting)} of {role}"
            error.actions = (
                "let its workers finish",
                f"or lose what waits: `muster roles rm {role} --drop`",
            )
            raise

    with_fleet(given, act)
    lost_now: object = (waiting if given.json else f"{_many(waiting)} lost") if lost else None
    show(given, {"done": "retired", "role": role, "lost": lost_now})
    return 0


async def _all(bus: "Bus", *, counted: str = "") -> list[Found]:
    """Every role, by name; the dead letters of `counted` are counted: all of them are read."""
    from bus import members
    from workers.fleet.presence import present

    alive = await present(bus.store)
    rows = await bound_groups(bus, alive)
    seen, paused = await members.last_seen(bus.store), await bus.stops.paused()
    gone = members.deserted([row.role for row in rows if not row.workers], seen, time.time())
    return [
        Found(
            row=row,
            members=tuple(one for one in alive if one.role == row.role),
            asked=tuple(sorted(await members.versions(bus.store, row.role))),
            seen=seen.get(row.role),
            pause=paused.get(row.role),
            deserted=row.role in gone,
            dead=await _count_dead(bus, counted) if row.role == counted else None,
        )
        for row in rows
    ]


async def _count_dead(bus: "Bus", role: str) -> int:
    return len([letter.id async for letter in bus.dead.all(role)])


async def _unknown(bus: "Bus", role: str) -> Found:
    from contracts.topics import near

    known = [row.role for row in await bound_groups(bus, ())]
    close = near(role, known, limit=2)
    raise NotFound(
        f"there is no role {role!r}",
        details=f"did you mean {' or '.join(close)}?" if close else "none is like it",
        actions=("see all of them: `muster roles ls`",),
    )


def _concurrency(members: "Sequence[Alive]") -> int:
    return sum(member.concurrency for member in members)


def _limits(members: "Sequence[Alive]") -> list[str]:
    return sorted({limit for member in members for limit in member.limits})


def _cells(found: Found, now: float) -> list[object]:
    row = found.row
    return [
        row.role,
        heard(row),
        row.workers,
        len(found.asked) or "",
        _concurrency(found.members) or "",
        "; ".join(_limits(found.members)),
        _waiting(row),
        _age(found, now),
        found.state,
    ]


def _waiting(row: Row) -> object:
    counts = [*row.waiting.values(), row.delayed]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else "?"


def _age(found: Found, now: float) -> str:
    if found.members:
        return "now"
    return "never" if found.seen is None else f"{times.ago(now - found.seen)} ago"


def _many(waiting: int | None) -> str:
    if waiting is None:
        return "what waits"
    return f"{waiting:,} waiting task{'' if waiting == 1 else 's'}"


def _show(found: Found, code: "Role | None", now: float) -> None:
    row = found.row
    lag = [f"{name} {_known(row.waiting[name])}" for name in LANES]
    facts = {
        "role": row.role,
        "listens": heard(row),
        "state": found.state or "at work",
        "waiting": f"{', '.join(lag)}, delayed {_known(row.delayed)}, leased {_known(row.leased)}",
        "dead": f"{found.dead} dead letters",
        "seen": _age(found, now),
        "limits": "; ".join(_limits(found.members)) or "none that a worker tells",
        "code": _declared(code) if code else "not here",
    }
    if found.pause is not None:
        reason = f": {found.pause.reason}" if found.pause.reason else ""
        when = times.ago(now - found.pause.at)
        facts["state"] = f"paused {when} ago by {found.pause.by or 'somebody'}{reason}"
    for name, value in facts.items():
        output.say(f"{name:<9}{output.printable(str(value))}")
    if len(found.asked) > 1:
        for number, asked in enumerate(found.asked, 1):
            output.say(f"version {number} asks for {' '.join(asked)}")
    if found.members:
        columns = "WORKER HOST PID UP RUNNING LISTENS STATE".split()
        output.table(columns, [_member(each, now) for each in found.members])


def _known(count: int | None) -> object:
    return "?" if count is None else count


def _member(member: "Alive", now: float) -> list[object]:
    return [
        member.worker,
        member.host,
        member.pid,
        times.ago(now - member.since),
        f"{member.running}/{member.concurrency}",
        " ".join(member.listens),
        "draining" if member.draining else "",
    ]


def _code(given: Given, name: str) -> "Role | None":
    """The role as the code of this folder declares it, if it does."""
    from workers.sdk.errors import RoleError
    from workers.wiring import all_roles

    try:
        return all_roles(given.loaded()).get(name)
    except RoleError:
        return None


def _code_shape(role: "Role") -> dict[str, Any]:
    names = "concurrency attempts timeout backoff isolation memory_mb files line"
    shape = {name: getattr(role, name) for name in names.split()}
    limits = [limit.text for limit in role.limits]
    return {"file": str(role.file), **shape, "listens": list(role.listens), "limits": limits}


def _declared(role: "Role") -> str:
    own = f", each in a process of its own ({role.isolation})" if role.isolation else ""
    limits = "".join(f"; {limit.text}" for limit in role.limits)
    return (
        f"{role.file}:{role.line}: {role.attempts} attempts of {role.timeout:g} s, "
        f"{role.concurrency} at once{own}{limits}"
    )
