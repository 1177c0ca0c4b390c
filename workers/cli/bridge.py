"""`muster bridge`: messages of other brokers become tasks, and what came of tasks goes out."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli import output
from workers.cli.errors import WrongUsage
from workers.cli.options import Given

if TYPE_CHECKING:
    from collections.abc import Callable

    from bus.bus import Bus
    from workers.bridge.foreign import Foreign
    from workers.bridge.places import Crossing
    from workers.settings import Loaded


def bridge(
    ctx: typer.Context,
    source: Annotated[str, typer.Option("--from", metavar="URL|TOPIC", help="Where from.")],
    target: Annotated[str, typer.Option("--to", metavar="URL|TOPIC", help="Where to.")],
    tasks: Annotated[
        bool, typer.Option("--tasks", help="Send the tasks, not how they ended.")
    ] = False,
    structured: Annotated[
        bool, typer.Option("--structured", help="Send each CloudEvent as one JSON body.")
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="Of its group, bridge-NAME; default: made of both ends.")
    ] = None,
) -> None:
    """Move messages between a topic and a subject, topic, queue or stream outside.

    One end is a topic, the other a URL: nats://HOST:PORT/SUBJECT?stream=NAME,
    kafka://HOST:PORT/TOPIC, amqp://HOST:PORT/QUEUE, redis://HOST:PORT/STREAM; USER:PASSWORD@ may
    stand before the host, and tls://, kafkas://, amqps:// and rediss:// are encrypted. In: JSON and
    CloudEvents become tasks; what does not fit is a dead letter of the bridge. Out: how the tasks
    of a topic ended leaves as CloudEvents, at least once. Runs until Ctrl-C or SIGTERM.
    """
    from workers.bridge.foreign import Foreign
    from workers.bridge.places import crossing
    from workers.telemetry.logs import configure_logs

    found = crossing(source, target, name, tasks=tasks)
    if found.inward and (tasks or structured):
        raise WrongUsage(
            f"{'--tasks' if tasks else '--structured'} is for what leaves",
            details="this bridge leads in",
            actions=("leave it out",),
        )
    loaded = Given.of(ctx).loaded()
    configure_logs(style=loaded.settings.log.format, level=loaded.settings.log.level)
    foreign = Foreign(found.place, found.group, structured=structured)
    asyncio.run(_run(loaded, found, foreign, tasks=tasks))


async def _run(loaded: "Loaded", found: "Crossing", foreign: "Foreign", *, tasks: bool) -> None:
    from workers.wiring import open_bus

    bus = await open_bus(loaded, source=f"/muster/{found.group}")
    try:
        if found.inward:
            await _inward(loaded, found, foreign, bus)
        else:
            await _outward(loaded, found, foreign, bus, tasks=tasks)
    finally:
        await bus.close()


async def _inward(loaded: "Loaded", found: "Crossing", foreign: "Foreign", bus: "Bus") -> None:
    from contracts.clock import SystemClock
    from workers.bridge.inward import Inward, check_by
    from workers.bridge.serving import serve
    from workers.bridge.showing import shown_as
    from workers.fleet.client import FleetClient

    clock, fleet = SystemClock(), loaded.settings.fleet
    inward = Inward(
        found,
        FleetClient(bus, clock, source=f"/muster/{found.group}"),
        clock,
        fleet=fleet.name,
        check=check_by(_readers(loaded, found.topic)),
        lease=fleet.lease,
    )
    told = f"{found.place.shown} → {found.topic}"
    shown = shown_as(inward, bus, clock, lambda: _ready(found, told))
    await serve(inward, foreign, shown, inward.take)
    output.note(f"{inward.published} published, {inward.refused} dead letters")


async def _outward(
    loaded: "Loaded", found: "Crossing", foreign: "Foreign", bus: "Bus", *, tasks: bool
) -> None:
    from contracts.clock import SystemClock
    from workers.bridge.outward import Outward
    from workers.bridge.serving import serve
    from workers.bridge.showing import shown_as

    clock, fleet = SystemClock(), loaded.settings.fleet
    outward = Outward(found, bus, foreign, clock, fleet=fleet.name, tasks=tasks, lease=fleet.lease)
    told = f"{'tasks' if tasks else 'ends'} of {found.topic} → {found.place.shown}"
    await serve(outward, foreign, shown_as(outward, bus, clock, lambda: _ready(found, told)))
    output.note(f"{outward.sent} sent, {outward.refused} dead letters")


def _ready(found: "Crossing", told: str) -> None:
    output.note(f"{told}, as {found.group}; Ctrl-C ends it")
    if found.place.scheme in {"nats", "tls"} and "stream" not in found.place.options:
        output.note("core NATS keeps nothing that nobody hears at that moment; ?stream=NAME does")


def _readers(loaded: "Loaded", topic: str) -> "list[Callable[[bytes], object]]":
    """What reads the payloads of the roles here that listen; roles that cannot be imported, or are
    elsewhere, judge for themselves."""
    from contracts.topics import matches_any
    from workers.sdk.errors import RoleError
    from workers.wiring import all_roles

    try:
        roles = all_roles(loaded)
    except RoleError:
        return []
    return [role.read for role in roles.values() if matches_any(role.listens, topic)]
