"""`muster demo`: the main job on real documents, by real processes over an embedded bus."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from contracts.clock import SystemClock
from contracts.events import Event, Kind
from workers.cli import services
from workers.cli.options import Given
from workers.cli.timeline import WIDTH, Row, bar, rows
from workers.documents import stages
from workers.documents.model import Brief
from workers.fleet.listening import listening
from workers.fleet.seat import Spec
from workers.fleet.supervisor import Supervisor
from workers.settings import Loaded, load
from workers.wiring import Fleet, bus_url, open_bus

QUESTION = (
    "What happens to a task whose worker is killed, what is a dead letter, "
    "and how many settings have the default none?"
)

CREW = {"coordinator": 1, "analyst": 1, "writer": 1, "validator": 1}
"""Processes per role, beside the researchers."""

_HERE = Path(__file__).resolve()
_BUILT_IN = _HERE.parents[1] / "roles"

PATIENCE = 600.0
"""Seconds the job may take."""


@dataclass(slots=True)
class Story:
    """What happened, as the events told it; `began` is a wall time."""

    began: float
    events: list[Event] = field(default_factory=list)


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
    console = Console(stderr=given.json)
    loaded = load(flags={"bus.url": given.bus, "fleet.name": given.fleet or "demo"})
    job = {"folder": str(where), "question": question, "researchers": researchers}
    brief, story = asyncio.run(_demo(loaded, job, researchers, console))
    out.write_text(brief.markdown, encoding="utf-8")
    if given.json:
        typer.echo(brief.model_dump_json(indent=2))
    else:
        _show(brief, story, out, console)
    return 0


def _own_documentation() -> Path:
    return _HERE.parents[2] / "docs"


async def _demo(
    loaded: Loaded, job: Mapping[str, object], researchers: int, console: Console
) -> tuple[Brief, Story]:
    story = Story(began=time.time())
    async with _bus(loaded, console) as url, _crew(loaded, url, researchers, console):
        brief = await _job(loaded, url, job, story, console)
    return brief, story


@asynccontextmanager
async def _bus(loaded: Loaded, console: Console) -> AsyncIterator[str]:
    """The configured bus, or an embedded one; with the embedded history database it ends with the
    demo unless it ran before."""
    async with services.running(loaded) as ours:
        for service in services.embedded(loaded):
            server = service.find(loaded.state) if service.name in ours else None
            if server is not None:
                console.print(f"{service.name}: {server}", highlight=False, soft_wrap=True)
        yield bus_url(loaded)


@asynccontextmanager
async def _crew(
    loaded: Loaded, url: str, researchers: int, console: Console
) -> AsyncIterator[Supervisor]:
    """One supervised process per worker, ready when the block is entered."""
    environment = {
        "MUSTER_BUS_URL": url,
        "MUSTER_FLEET_NAME": loaded.settings.fleet.name,
        "MUSTER_LOG_LEVEL": "warning",
        "MUSTER_ROLES": str(_BUILT_IN),
    }
    crew = {**CREW, "researcher": researchers}
    specs = [Spec(role, environment) for role, count in crew.items() for _ in range(count)]
    supervisor = Supervisor(specs, SystemClock())
    running = asyncio.create_task(supervisor.run())
    try:
        await supervisor.ready()
        console.print(f"crew: {', '.join(f'{n} {role}' for role, n in crew.items())}")
        yield supervisor
    finally:
        supervisor.stop()
        with suppress(asyncio.CancelledError):
            await running


async def _job(
    loaded: Loaded, url: str, job: Mapping[str, object], story: Story, console: Console
) -> Brief:
    """Publish the job, show its progress, and return the brief."""
    bus = await open_bus(load(flags={"bus.url": url, "fleet.name": loaded.settings.fleet.name}))
    async with Fleet(bus, SystemClock()) as fleet, listening(bus, "demo") as events:
        hearing = asyncio.create_task(_hear(events, story, console))
        task = await fleet.publish("brief.request", job)
        try:
            return Brief.model_validate(await task.result(timeout=PATIENCE))
        finally:
            await asyncio.wait({hearing}, timeout=0.5)
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)


async def _hear(events: AsyncIterator[Event], story: Story, console: Console) -> None:
    async for event in events:
        story.events.append(event)
        line = _line(event, story.began)
        if line:
            console.print(line, highlight=False)


def _line(event: Event, began: float) -> str:
    """What a watcher reads about an event; empty for what would only repeat."""
    head = f"{event.at - began:6.2f} s  {event.role:<12} {event.pid:>7}  "
    if event.kind is Kind.PROGRESS:
        return head + str(event.data.get("note", ""))
    if event.kind in {Kind.RETRIED, Kind.FAILED}:
        return head + f"{event.kind}: {event.data.get('reason', '')}"
    return ""


def _show(brief: Brief, story: Story, out: Path, console: Console) -> None:
    console.rule("the brief")
    if console.is_terminal:
        console.print(Markdown(brief.markdown))
    else:
        console.print(brief.markdown, markup=False, highlight=False, soft_wrap=True)
    console.rule("who did what")
    runs = rows(story.events)
    console.print(_timeline(runs))
    console.print(f"{len({r.pid for r in runs})} processes, {len(runs)} runs; brief in {out}")
    console.rule("what to try next")
    console.print(_NEXT, highlight=False, soft_wrap=True)


def _timeline(runs: Sequence[Row]) -> Table:
    whole = max((row.end or row.start for row in runs), default=0.0)
    table = Table("role", "process", "from", "to", "when", "what", box=None)
    table.columns[4].no_wrap = True
    table.columns[4].min_width = WIDTH
    for row in runs:
        end = "" if row.end is None else f"{row.end:.2f} s"
        table.add_row(
            row.role,
            str(row.pid),
            f"{row.start:.2f} s",
            end,
            bar(row, whole),
            row.note if row.how == "succeeded" else f"{row.how} {row.note}",
        )
    return table


_NEXT = """\
  make demo ARGS="--folder PATH --ask 'your question'"   your own documents
  .venv/bin/muster new role greeter                       a role of your own
  .venv/bin/muster up                                     the whole fleet, supervised
  .venv/bin/muster publish greeter.hello '{"name": "Ada"}' --wait"""
