"""`muster scale`: how many processes each role has in the whole fleet, wanted and real."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli import output
from workers.cli.errors import WrongUsage
from workers.cli.options import Given
from workers.cli.steering import show

if TYPE_CHECKING:
    from bus.bus import Bus
    from workers.fleet.machine import Machine
    from workers.fleet.replicas import Range
    from workers.fleet.staffing import Crash, Fleet, Staff

_SETTINGS = "as the settings say"


def scale(
    ctx: typer.Context,
    wanted: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ROLE=N|ROLE=auto:MIN..MAX]…", help="What is wanted from now on."),
    ] = None,
    reset: Annotated[
        list[str] | None,
        typer.Option("--reset", metavar="ROLE", help="Let the settings decide again."),
    ] = None,
    queue_depth: Annotated[
        int | None,
        typer.Option(min=1, help="With auto: at most so many tasks shall wait per process."),
    ] = None,
) -> int:
    """Set how many worker processes roles have in the fleet, or show it.

    Every `muster up` of the fleet follows within a second or two: more are started, fewer finish
    what they have begun. It holds over restarts, until it is set again or `--reset`.
    """
    given = Given.of(ctx)
    orders = _orders(wanted or [], queue_depth)
    if not orders and queue_depth is not None:
        raise WrongUsage(
            "a queue depth belongs to a range",
            details="no ROLE=auto:MIN..MAX was given",
            actions=("write researcher=auto:1..8 --queue-depth 100",),
        )
    if both := sorted(orders.keys() & set(reset or [])):
        raise WrongUsage(
            f"{both[0]} is scaled and reset",
            details="a reset takes back what was said, also what is said with it",
            actions=("leave one out",),
        )
    return asyncio.run(_scale(given, orders, reset or []))


def _orders(texts: Sequence[str], queue_depth: int | None) -> "dict[str, int | Range]":
    """What each role shall have. Raises `WrongUsage`, `InvalidValue`."""
    from workers.fleet.replicas import parse

    found: dict[str, int | Range] = {}
    for text in texts:
        role, equals, number = text.partition("=")
        if not (role and equals) or role in found:
            raise WrongUsage(
                f"{text!r} is not ROLE=N" if role not in found else f"{role} is scaled twice",
                details="a role, an equals sign, and a number or auto:MIN..MAX; each role once",
                actions=("write researcher=4 or researcher=auto:1..8",),
            )
        found[role] = parse(number, queue_depth=queue_depth)
    return found


async def _scale(given: Given, orders: "Mapping[str, int | Range]", reset: Sequence[str]) -> int:
    from workers.fleet.staffing import Fleet
    from workers.wiring import open_bus

    bus = await open_bus(given.loaded(), source="/muster/scale")
    try:
        fleet = await Fleet.read(bus.store)
        if orders or reset:
            await _check_known([*orders, *reset], given, bus, fleet)
            await _order(given, bus, fleet, orders)
            await _take_back(given, bus, fleet, reset)
            return 0
        await _show(given, bus, fleet)
        return 0
    finally:
        await bus.close()


async def _check_known(roles: Sequence[str], given: Given, bus: "Bus", fleet: "Fleet") -> None:
    """Roles that a machine has, that are bound, or whose code is here. Raises `UnknownRole`."""
    from bus.keyvalue import keys
    from bus.keyvalue.paging import entries
    from workers.sdk.discovery import pick
    from workers.wiring import all_roles

    known = {role for machine in fleet.machines for role in machine.roles}
    known |= set(fleet.wishes.orders)
    if not known.issuperset(roles):
        prefix = keys.binding()
        known |= {e.key.removeprefix(prefix) async for e in entries(bus.store, prefix)}
    if not known.issuperset(roles):
        pick(all_roles(given.loaded()), [role for role in roles if role not in known])


async def _order(
    given: Given, bus: "Bus", fleet: "Fleet", wanted: "Mapping[str, int | Range]"
) -> None:
    from workers.fleet import orders
    from workers.fleet.operator import whoami

    nobody = None if fleet.machines else "no fleet is up: it holds when one comes"
    for role, replicas in wanted.items():
        order = orders.Order(replicas, whoami(), time.time())
        await orders.give(bus.store, role, order, present=fleet.seats(role))
        await _tell(bus, fleet, role, str(replicas))
        has = [machine for machine in fleet.machines if role in machine.roles]
        note = nobody or (None if has else "no machine that is up has the code for it")
        show(given, {"done": "scaled", "role": role, "to": f"to {replicas}", "note": note})


async def _take_back(given: Given, bus: "Bus", fleet: "Fleet", roles: Sequence[str]) -> None:
    from workers.fleet import orders

    for role in roles:
        present = fleet.seats(role)
        found = await orders.take_back(bus.store, role, time.time(), present=present)
        if found:
            await _tell(bus, fleet, role, _SETTINGS)
        note = None if found else "they decided before"
        show(given, {"done": "reset", "role": role, "to": "to its settings", "note": note})


async def _tell(bus: "Bus", fleet: "Fleet", role: str, after: str) -> None:
    from contracts.deeds import Action, Scope
    from workers.fleet.operator import deed

    order = fleet.wishes.orders.get(role)
    before = _SETTINGS if order is None else str(order.replicas)
    said = {"role": role, "before": before, "after": after}
    await bus.tell_deed(deed(Action.SCALE, time.time(), Scope.ROLE, role, **said))


async def _show(given: Given, bus: "Bus", fleet: "Fleet") -> None:
    from workers.fleet.presence import present

    staff, crashes = fleet.staff(await present(bus.store)), fleet.crashes()
    if given.json:
        output.as_json(
            {
                "machines": [_machine(machine) for machine in fleet.machines],
                "roles": [{**asdict(one), "replicas": _replicas(one)} for one in staff],
                "crashes": [asdict(crash) for crash in crashes],
            }
        )
        return
    columns = "ROLE WANTED READY STARTING DRAINING BESIDE WHERE WHY"
    output.table(columns.split(), [_cells(one) for one in staff])
    if not fleet.machines:
        output.note("no fleet is up: start one by `muster up`")
    show_crashes(crashes)


def _replicas(one: "Staff") -> Any:
    replicas = one.replicas
    return replicas if replicas is None or isinstance(replicas, int) else replicas.model_dump()


def _machine(machine: "Machine") -> dict[str, Any]:
    shown = {name: getattr(machine, name) for name in ("name", "host", "pid", "folder", "since")}
    return {**shown, "roles": sorted(machine.roles), "processes": len(machine.processes)}


def _cells(one: "Staff") -> list[object]:
    where = ", ".join(f"{name} {count}" for name, count in sorted(one.where.items()))
    counts = [one.ready, one.starting or "", one.draining or "", one.beside or ""]
    return [one.role, "" if one.wanted is None else one.wanted, *counts, where, one.why]


def show_crashes(crashes: "Sequence[Crash]") -> None:
    """Name processes that die again and again: they are not among the living."""
    now = time.time()
    for crash in crashes:
        wait = "" if crash.again_at is None else f" in {max(0.0, crash.again_at - now):.0f} s"
        output.note(f"{crash}; it is started again{wait} on {crash.machine}")
