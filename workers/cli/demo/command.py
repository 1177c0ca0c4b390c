"""`muster demo`: a question answered from a folder of documents, by real processes."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from contracts.clock import SystemClock
from contracts.errors import MusterError
from contracts.events import Event
from workers import own_broker
from workers.cli.demo import past
from workers.cli.demo.chaos import LEASE, Broker, Chaos
from workers.cli.demo.letter import mend
from workers.cli.demo.running import (
    cancelled_if_left,
    client,
    crew,
    interruptible,
    members,
    servers,
)
from workers.cli.demo.screen import Screen
from workers.cli.demo.tale import Tale
from workers.cli.errors import WrongUsage
from workers.cli.masking import masked
from workers.cli.options import Given
from workers.documents import stages
from workers.documents.model import Brief
from workers.fleet.client import FleetClient, Task
from workers.fleet.supervisor import Supervisor
from workers.history.address import kept
from workers.settings import Loaded, load
from workers.telemetry.logs import configure_logs

QUESTION = (
    "What happens to a task whose worker is killed, what is a dead letter, "
    "and how many settings have the default none?"
)

PATIENCE = 600.0
"""Seconds the job may take."""

_LATE = 5.0
"""Seconds in which what is told of the job may come after its result."""


@dataclass(frozen=True, slots=True)
class Play:
    """What is to be shown, and where."""

    loaded: Loaded
    folder: Path
    question: str
    researchers: int
    chaos: bool
    out: Path
    as_json: bool
    screen: Screen

    @property
    def job(self) -> Mapping[str, object]:
        """The payload of the job."""
        return {
            "folder": str(self.folder),
            "question": self.question,
            "researchers": self.researchers,
        }


def demo(
    ctx: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", metavar="PATH", help="Documents; default: muster's own docs."),
    ] = None,
    ask: Annotated[
        str | None, typer.Option("--ask", metavar="QUESTION", help="What to find out.")
    ] = None,
    researchers: Annotated[
        int, typer.Option(min=1, max=64, help="Researcher processes that read in parallel.")
    ] = 3,
    chaos: Annotated[
        bool,
        typer.Option("--chaos", help="Kill a worker, the coordinator and the broker on the way."),
    ] = False,
    out: Annotated[Path, typer.Option(help="Where the brief is written.")] = Path("brief.md"),
) -> int:
    """Have a question answered from a folder of documents by real worker processes.

    Everything is embedded; no model and no network is used. Every quote of the brief was looked
    up again at its place, and every figure computed twice.
    """
    given = Given.of(ctx)
    where = (folder or _own_documentation()).resolve()
    question = ask or QUESTION
    stages.plan(where, question, researchers)
    loaded = _loaded(given, chaos=chaos)
    if chaos:
        _check_ours(loaded)
        configure_logs(style=loaded.settings.log.format, level="error")
    screen = Screen(as_json=given.json)
    play = Play(loaded, where, question, researchers, chaos, out, given.json, screen)
    asyncio.run(interruptible(_show(play)))
    return 0


def _own_documentation() -> Path:
    return Path(__file__).resolve().parents[3] / "docs"


def _loaded(given: Given, *, chaos: bool) -> Loaded:
    """The settings of the demo's own fleet: leases are short where workers are killed, and belong
    to another fleet, since a fleet's queues have the lease of whoever made them."""
    flags = {"bus.url": given.bus, "fleet.name": given.fleet or ("demo-chaos" if chaos else "demo")}
    loaded = load(flags=flags)
    if chaos and "fleet.lease" not in loaded.origins:
        return load(flags={**flags, "fleet.lease": LEASE})
    return loaded


def _check_ours(loaded: Loaded) -> None:
    """Only a broker that the demo starts itself may be killed."""
    what = "--chaos kills the broker, and this one is not the demo's own"
    if own_broker.asked(loaded) is None:
        url = loaded.settings.bus.url or ""
        raise WrongUsage(
            what,
            details=f"{masked(url)}, from {loaded.origins.get('bus.url', 'the defaults')}",
            actions=(
                "leave bus.url out: the demo starts one of its own",
                "or name it: `--bus redis`",
            ),
        )
    running = own_broker.running(loaded)
    if running is not None:
        raise WrongUsage(
            what,
            details=f"process {running.pid} runs here already: others may work on it",
            actions=("end it: `muster down`", "or run the demo in another folder"),
        )


async def _show(play: Play) -> None:
    """All of it, with everything that it needs, which ends with it."""
    clock, screen, loaded = SystemClock(), play.screen, play.loaded
    broker = Broker(0)

    def again(name: str, pid: int) -> None:
        if name == "bus":
            broker.pid = pid
        screen.restarted(clock.wall(), name, pid)

    log = loaded.state / "demo.log" if play.chaos else None
    async with servers(loaded, screen.say, again):
        if play.chaos and (server := own_broker.running(loaded)):
            broker.pid = server.pid
        async with crew(loaded, play.researchers, log=log) as supervisor:
            roles = members(loaded, play.researchers)
            counts = {role: roles.count(role) for role in roles}
            screen.say(f"crew: {', '.join(f'{n} {role}' for role, n in counts.items())}")
            async with client(loaded) as (fleet, events):
                tale = Tale(clock, screen.event)
                hearing = asyncio.create_task(tale.listen(events))
                try:
                    await _acts(play, fleet, tale, supervisor, broker)
                finally:
                    hearing.cancel()
                    await asyncio.gather(hearing, return_exceptions=True)


async def _acts(
    play: Play, fleet: FleetClient, tale: Tale, supervisor: Supervisor, broker: Broker
) -> None:
    """The job, what came of it, its history, and a dead letter."""
    clock, screen = SystemClock(), play.screen
    screen.began = clock.wall()
    task = await fleet.publish("brief.request", play.job)
    chaos = Chaos(tale, task.id, supervisor, broker, clock, screen.chaos)
    async with cancelled_if_left(fleet, task.id):
        brief = await _brief(task, tale, chaos if play.chaos else None)
    screen.live = False
    play.out.write_text(brief.markdown, encoding="utf-8")
    if play.as_json:
        typer.echo(brief.model_dump_json(indent=2))
    else:
        screen.brief(brief)
    if play.chaos:
        screen.kills(chaos.recovered, tale.of(task.id))
        await _compare(play, brief)
    await _tell_history(play, tale, task.id)
    mended = await mend(fleet, play.loaded, tale, play.job, clock)
    screen.letter(mended, mended.result.value == brief.model_dump(mode="json"))
    screen.next(play.out)


async def _brief(task: Task, tale: Tale, chaos: Chaos | None) -> Brief:
    """The job's result; chaos goes on until the job is over, if it is not done before."""
    raging = asyncio.create_task(chaos.play()) if chaos else None
    try:
        brief = Brief.model_validate(await task.result(timeout=PATIENCE))
        with suppress(TimeoutError):  # the ends of its parts are on their way
            async with asyncio.timeout(_LATE):
                await tale.until(lambda: None if tale.unfinished(task.id) else True)
        if raging is not None and raging.done():
            raging.result()
        return brief
    finally:
        if raging is not None:
            raging.cancel()
            await asyncio.gather(raging, return_exceptions=True)


async def _compare(play: Play, brief: Brief) -> None:
    """Make the brief once more, in this process and without any fleet."""
    expected = await asyncio.to_thread(_alone, play)
    if brief != expected:
        raise MusterError(
            "the brief is not the one that a single process makes",
            details=f"of the same folder and question; see {play.out}",
            actions=("see that no file of the folder changed meanwhile, and repeat it",),
        )
    play.screen.say("the brief is equal to the one that this process has now made alone")


def _alone(play: Play) -> Brief:
    plan = stages.plan(play.folder, play.question, 1)
    findings = [stages.research(shard) for shard in plan.shards]
    selection = stages.select(play.question, findings, plan.skipped)
    draft = stages.write(selection, stages.analyse(plan.folder, selection))
    return stages.validate(plan.folder, draft)


async def _tell_history(play: Play, tale: Tale, task: str) -> None:
    """The runs of the job and of what was called for it: as history tells them, where one is
    kept and can be asked."""
    heard = tale.of(task)
    source = "its events tell"
    events: list[Event] = heard
    if kept(play.loaded):
        try:
            tasks = list(dict.fromkeys(event.task for event in heard))
            stories = await past.told(play.loaded, tasks, SystemClock())
            events = [event for story in stories for event in story.events]
            source = "history tells (`muster task show`)"
        except MusterError as error:
            play.screen.say(f"history cannot be asked: {error}")
    play.screen.history(events, source)
