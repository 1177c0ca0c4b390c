"""`muster up`: the whole fleet of a folder, kept alive by this process."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli import completing
from workers.cli.errors import WrongUsage
from workers.cli.options import Given

if TYPE_CHECKING:
    from workers.cli.crewing import Plan
    from workers.fleet.machine import Offer
    from workers.sdk.role import Role
    from workers.settings import Loaded


def up(
    ctx: typer.Context,
    roles: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ROLE[=N]]…",
            help="Only these; N processes here until the role is scaled. Default: all.",
            autocompletion=completing.declared,
        ),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when ready.")] = False,
) -> int:
    """Start the bus if none is configured, and one process per worker; keep them alive.

    Several machines that run this share the processes of each role: see `muster scale`.
    Ctrl-C lets the workers finish what they have begun, then ends everything that was started.
    """
    from workers.cli import keeping
    from workers.fleet.standing import alone

    given = Given.of(ctx)
    loaded = given.loaded()
    plan = _plan(loaded, given, roles or [])
    if detach:
        from workers.cli.detaching import start_detached

        return start_detached(plan, given, roles or [])
    with alone(loaded.state):
        asyncio.run(keeping.keep_up(plan))
    return 0


def _plan(loaded: "Loaded", given: Given, asked: Sequence[str]) -> "Plan":
    """Check everything that can be checked before anything starts."""
    from workers import services
    from workers.cli.crewing import Plan
    from workers.fleet.machine import Offer
    from workers.fleet.seat import Spec, worker_command
    from workers.wiring import all_roles

    known = all_roles(loaded)
    offers = _offers(asked, known, loaded)
    _check_port(loaded, sum(_most(offer) for offer in offers.values()))
    environment = {
        name: value
        for name, value in (("MUSTER_BUS_URL", given.bus), ("MUSTER_FLEET_NAME", given.fleet))
        if value is not None
    }
    folder = ("--folder", str(loaded.folder))
    listens = {r: known[r].listens for r, offer in offers.items() if _most(offer)}
    specs = {r: Spec(r, environment, [*worker_command(r), *folder]) for r in offers}
    apart = {**environment, "MUSTER_HEALTH_PORT": "0"}
    for service in services.wanted(loaded, known):
        specs[service] = Spec(service, apart, [*worker_command(service), *folder])
        offers[service] = Offer()
    return Plan(loaded, specs, offers, listens, given.json)


def _most(offer: "Offer") -> int:
    """Processes this machine may have at most, until somebody scales the role."""
    replicas = offer.replicas
    return offer.own or (replicas if isinstance(replicas, int) else replicas.max)


def _check_port(loaded: "Loaded", processes: int) -> None:
    """Several processes of one machine cannot answer probes on one port."""
    from workers.settings import SettingsError

    health = loaded.settings.health
    if health.enabled and health.port and processes > 1:
        raise SettingsError(
            f"{processes} processes cannot all answer probes on port {health.port}",
            details=f"from {loaded.origins.get('health.port', 'the defaults')}: health.port",
            actions=("leave health.port out, each takes a free one: `muster ps` shows them",),
        )


def _offers(
    asked: Sequence[str], known: "Mapping[str, Role]", loaded: "Loaded"
) -> "dict[str, Offer]":
    """The roles that this machine takes part in, with what it was told of each."""
    from workers.fleet.machine import Offer
    from workers.sdk.discovery import pick

    settings = loaded.settings.roles
    replicas = {name: settings[name].replicas if name in settings else 1 for name in known}
    if not asked:
        return {name: Offer(count) for name, count in replicas.items()}
    wanted = dict(_role_and_count(text) for text in asked)
    pick(known, wanted)
    return {name: Offer(replicas[name] or 1, own) for name, own in wanted.items()}


def _role_and_count(text: str) -> tuple[str, int | None]:
    role, equals, number = text.partition("=")
    if not equals:
        return role, None
    if not (number.isascii() and number.isdigit() and 1 <= int(number) <= 1000):
        raise WrongUsage(
            f"{text!r} is not ROLE=N",
            details=f"{number!r} is not a number of processes from 1 to 1000",
            actions=("write researcher=3",),
        )
    return role, int(number)
