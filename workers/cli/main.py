"""The entry of the command `muster`.

Only typer is imported here. A command's module is imported when that command is asked for, so
that `muster --help` shows itself at once.
"""

import gc
import sys
from collections.abc import Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from workers.cli.options import Given, share

COMMANDS = MappingProxyType(
    {
        "up": ("workers.cli.up:up", "Start the whole fleet of this folder and keep it alive."),
        "down": ("workers.cli.down:down", "End what `up` started here."),
        "work": ("workers.cli.work:work", "Run one worker process in the foreground."),
        "publish": ("workers.cli.publish:publish", "Publish a task, or a file of them."),
        "ps": ("workers.cli.ps:ps", "Show roles, workers and what waits for them."),
        "scale": ("workers.cli.scale:scale", "Show or set how many processes each role has."),
        "top": ("workers.cli.top:top", "Show live what waits, runs and fails."),
        "lag": ("workers.cli.lag:lag", "Show what waits for each group, and deserted groups."),
        "roles": ("workers.cli.roles:app", "Show what is bound to what; retire a role."),
        "task": ("workers.cli.task:app", "Cancel and retry tasks; see what happens."),
        "pause": ("workers.cli.pausing:pause", "Keep roles from starting anything."),
        "resume": ("workers.cli.pausing:resume", "Let paused roles start tasks again."),
        "queue": ("workers.cli.queues:app", "Empty the queue of a role."),
        "schedule": ("workers.cli.schedule:app", "Publish tasks by the clock: cron or once."),
        "dlq": ("workers.cli.dlq:app", "Look at dead letters; edit, replay, purge."),
        "audit": ("workers.cli.audit:audit", "Show who did what to this fleet, and when."),
        "asyncapi": ("workers.cli.asyncapi:asyncapi", "Print what the fleet takes, as AsyncAPI."),
        "bridge": ("workers.cli.bridge:bridge", "Move messages in from other brokers, or out."),
        "demo": ("workers.cli.demo.command:demo", "Run the main job on real documents."),
        "new": ("workers.cli.new:app", "Write a working role with its test."),
        "config": ("workers.cli.config:config", "Show the settings and where each came from."),
        "doctor": ("workers.cli.doctor:doctor", "Check this machine, roles, bus and history."),
        "completion": ("workers.cli.completion:completion", "Print what completes words."),
        "bench": ("workers.cli.bench:bench", "Measure throughput, latency and memory."),
    }
)
"""Where each command is, and its line in `--help`."""


class LazyGroup(TyperGroup):
    """Knows its commands by name and line; imports one when it is used."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's interface
        """The names, in the order they are shown."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, imported; raises `WrongUsage` that names the nearest."""
        if cmd_name in COMMANDS:
            return _load(cmd_name)
        if ctx.resilient_parsing or cmd_name.startswith("-"):
            return None
        from contracts.topics import near
        from workers.cli.errors import WrongUsage

        close = near(cmd_name, COMMANDS, limit=2)
        raise WrongUsage(
            f"there is no command {cmd_name!r}",
            details=f"did you mean {' or '.join(close)}?" if close else "none is like it",
            actions=("see all of them: `muster --help`",),
        )

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the same
        """The list in `--help`, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


def _load(name: str) -> Any:
    home, line = COMMANDS[name]
    module, _, attribute = home.partition(":")
    found = getattr(import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(name)(found)
        found = single
    command: Any = typer.main.get_command(found)
    command.name, command.short_help = name, line
    share(command)
    return command


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"muster {version('muster')}")
        raise typer.Exit


app = typer.Typer(cls=LazyGroup, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback(
    epilog="Exit codes: 0 done, 1 the task failed, 2 wrong usage, 3 a service cannot be reached, "
    "4 no such topic, id or role, 5 refused, 130 interrupted.",
)
def muster(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, expose_value=False, help="Show it."
        ),
    ] = False,
) -> None:
    """Run a fleet of AI-agent workers on a message bus."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    gc.set_threshold(100_000, 50, 100)  # else a tenth of a start is looking for cycles in modules
    args = list(sys.argv[1:] if arguments is None else arguments)
    own = args[: args.index("--")] if "--" in args else args
    try:
        command: Any = typer.main.get_command(app)
        share(command)
        code = command.main(
            args or ["--help"], prog_name="muster", standalone_mode=False, obj=Given()
        )
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is shown in three lines
        from workers.cli.errors import report

        code = report(error, as_json="--json" in own, debug="--debug" in own)
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(run())
