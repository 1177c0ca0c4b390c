"""How `muster top` looks: tables that fit the terminal, whatever its size. Pure."""

import time
from dataclasses import KW_ONLY, dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from rich.text import Text

from contracts.topics import RECORDER, SCHEDULER
from workers.cli import output, times
from workers.cli.fitting import Column, table

if TYPE_CHECKING:
    from workers.cli.overview import Overview, RoleNow, WorkerNow


class Order(StrEnum):
    """What the rows are sorted by; all but the name from the most on."""

    NAME = "name"
    WAITING = "waiting"
    RATE = "started/s"
    FAILED = "failed/s"
    DEAD = "dead"
    MEMORY = "memory"

    def next(self) -> "Order":
        """The one after this, and the first after the last."""
        every = list(Order)
        return every[(every.index(self) + 1) % len(every)]


@dataclass(frozen=True, slots=True)
class View:
    """What a person has chosen to see. `typing`: what is being typed as a filter, None if nothing
    is."""

    order: Order = Order.NAME
    filter: str = ""
    typing: str | None = None


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest that is known. `away`: why the bus does not answer, since `since`; `now` in the
    same UTC epoch seconds."""

    overview: "Overview | None"
    now: float
    _: KW_ONLY
    away: str = ""
    since: float = 0.0


def lines(latest: Latest, view: View, *, width: int, height: int, title: str) -> list[Text]:
    """What is shown, exactly as many lines as there is room for at most, none wider than that."""
    found = [_head(latest, title)]
    overview = latest.overview
    if overview is not None:
        roles, workers = _sorted(overview, view)
        room = max(2, height - len(found) - 3)
        most = min(len(roles), max(1, room - min(len(workers), room // 2)))
        found += table(_ROLES, [_role_cells(each) for each in roles], most, width)
        found.append(Text(""))
        left = height - len(found) - 2
        found += table(_WORKERS, [_worker_cells(w, overview.at) for w in workers], left, width)
    elif not latest.away:
        found.append(Text("asking the bus …"))
    room = max(1, height - 1)
    shown = [*found[:room], _foot(view)]
    for line in shown:
        line.truncate(width, overflow="ellipsis")
    return shown[:height]


def _head(latest: Latest, title: str) -> Text:
    if latest.away:
        seconds = latest.now - latest.since
        of = latest.overview
        told = f"; what is below is of {_clock(of.at)}" if of else ""
        text = f"{title}  the bus is away for {seconds:.0f} s{told}: {latest.away}"
        return Text(output.printable(text), style="bold red")
    overview = latest.overview
    if overview is None:
        return Text(title, style="bold")
    waiting = [each.waiting() for each in overview.roles]
    known = sum(each for each in waiting if each is not None)
    more = "+?" if None in waiting else ""
    tasks = [each for each in overview.roles if each.row.role not in {RECORDER, SCHEDULER}]
    started = sum(each.rates.started for each in tasks if each.rates)
    text = (
        f"{title}  {_clock(overview.at)}  {len(overview.roles)} roles, "
        f"{len(overview.workers)} workers, {known:,}{more} waiting, {started:,.1f} started/s"
    )
    return Text(output.printable(text), style="bold")


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def _foot(view: View) -> Text:
    if view.typing is not None:
        return Text(f"filter: {view.typing}▏  Enter takes it, Esc forgets it", style="reverse")
    chosen = f" ({view.filter})" if view.filter else ""
    return Text(f"q quit  s sort ({view.order})  f filter{chosen}", style="dim")


def _sorted(overview: "Overview", view: View) -> "tuple[list[RoleNow], list[WorkerNow]]":
    word = view.filter.casefold()
    roles = [r for r in overview.roles if word in r.row.role.casefold()]
    workers = [
        w
        for w in overview.workers
        if word in w.alive.role.casefold() or word in w.alive.host.casefold()
    ]
    roles.sort(key=lambda r: (-_weight(r, view.order), r.row.role))
    place = {each.row.role: number for number, each in enumerate(roles)}
    if view.order is Order.MEMORY:
        workers.sort(key=lambda w: -w.alive.memory)
    else:
        workers.sort(key=lambda w: (place.get(w.alive.role, len(place)), w.alive.worker))
    return roles, workers


def _weight(role: "RoleNow", order: Order) -> float:
    match order:
        case Order.WAITING:
            return role.waiting() or 0
        case Order.RATE:
            return role.rates.started if role.rates else 0.0
        case Order.FAILED:
            return role.rates.failed if role.rates else 0.0
        case Order.DEAD:
            return role.dead or 0
    return 0.0


_ROLES = (
    Column("ROLE", 0, left=True),
    Column("WAITING", 1),
    Column("DELAYED", 6),
    Column("LEASED", 7),
    Column("RUNNING", 2),
    Column("START/S", 3),
    Column("OK/S", 8),
    Column("FAIL/S", 4),
    Column("AGAIN/S", 12),
    Column("RUN P50", 9),
    Column("P99", 9),
    Column("WAIT P50", 10),
    Column("P99", 10),
    Column("DEAD", 3),
    Column("WORKERS", 5),
    Column("RESTARTS", 11),
    Column("STATE", 5, left=True),
)

_WORKERS = (
    Column("ROLE", 0, left=True),
    Column("PID", 1),
    Column("HOST", 5, left=True),
    Column("UP", 4),
    Column("RUNNING", 1),
    Column("DONE", 3),
    Column("FAILED", 3),
    Column("MEMORY", 2),
    Column("CPU", 2),
    Column("RESTARTS", 6),
    Column("STATE", 4, left=True),
)


def _role_cells(one: "RoleNow") -> tuple[list[str], str]:
    row, rates = one.row, one.rates
    cells = [
        row.role,
        _count(one.waiting()),
        _count(row.delayed),
        _count(row.leased),
        f"{row.running}/{one.slots}",
        _rate(rates.started if rates else None),
        _rate(rates.succeeded if rates else None),
        _rate(rates.failed if rates else None),
        _rate(rates.again if rates else None),
        *map(_time, (*one.run, *one.wait)),
        _count(one.dead),
        str(row.workers),
        "" if one.restarts is None else str(one.restarts),
        ", ".join(_states(one)),
    ]
    failing = (rates is not None and rates.failed > 0) or one.crash is not None
    return cells, "red" if failing or (not row.workers and one.waiting()) else ""


def _states(one: "RoleNow") -> list[str]:
    crash = one.crash
    states = ["paused"] * one.row.paused + ["nobody works"] * (not one.row.workers)
    return states + ([f"dies (exit {crash.exit_code})"] if crash else [])


def _worker_cells(one: "WorkerNow", now: float) -> tuple[list[str], str]:
    alive = one.alive
    silent = alive.silent(now)
    states = ["draining"] * alive.draining
    states += [f"silent for {silent:.0f} s"] if silent is not None else []
    states += [f"{alive.places} places ({alive.pressure})"] * bool(alive.pressure)
    cells = [
        alive.role,
        str(alive.pid),
        alive.host,
        times.ago(now - alive.since),
        f"{alive.running if silent is None else '?'}/{alive.concurrency}",
        _count(alive.succeeded),
        _count(alive.failed),
        f"{alive.memory / 1024**2:,.0f} MiB" if alive.memory else "",
        "" if one.cpu is None else f"{one.cpu:.0%}",
        "" if one.restarts is None else str(one.restarts),
        ", ".join(states),
    ]
    return cells, "yellow" if states or one.restarts else ""


def _count(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


def _rate(rate: float | None) -> str:
    if rate is None:
        return ""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds == float("inf"):
        return ">30m"
    if seconds < 1:
        return f"≤{seconds * 1000:g}ms"
    return f"≤{seconds:g}s" if seconds < 120 else f"≤{seconds / 60:g}m"


def pressed(view: View, key: str) -> View | None:
    """The view after a key; None to quit."""
    if view.typing is not None:
        return _typed(view, view.typing, key)
    match key:
        case "q" | "Q" | "\x03" | "\x04":
            return None
        case "s" | "S":
            return replace(view, order=view.order.next())
        case "f" | "F" | "/":
            return replace(view, typing="")
        case "\x1b":
            return replace(view, filter="")
    return view


def _typed(view: View, text: str, key: str) -> View:
    match key:
        case "\r" | "\n":
            return replace(view, filter=text, typing=None)
        case "\x1b" | "\x03":
            return replace(view, filter="", typing=None)
        case "\x7f" | "\b":
            return replace(view, typing=text[:-1])
    return replace(view, typing=text + key) if key.isprintable() else view
