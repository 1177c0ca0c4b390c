"""The options every command has, before or after its name."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from workers.settings import Loaded


@dataclass(frozen=True, slots=True)
class Given:
    """What was given of them. `folder`: where muster.toml, agents/ and .muster/ are."""

    json: bool = False
    debug: bool = False
    folder: Path | None = None
    bus: str | None = None
    fleet: str | None = None

    @classmethod
    def of(cls, ctx: typer.Context) -> "Given":
        """What was given to the command that runs in `ctx`."""
        found = ctx.find_root().obj
        return found if isinstance(found, Given) else cls()

    def loaded(self) -> "Loaded":
        """The settings, with these options over them. Raises `SettingsError`, `WrongUsage`."""
        from workers.cli.errors import WrongUsage
        from workers.settings import load

        if self.folder is not None and not self.folder.is_dir():
            raise WrongUsage(
                f"there is no folder {self.folder}",
                details="--folder names where muster.toml, agents/ and .muster/ are",
                actions=("create it, or name another",),
            )
        return load(self.folder, flags={"bus.url": self.bus, "fleet.name": self.fleet})


def remember(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> None:
    """Keep a shared option for `Given.of`; one left out changes nothing. Raises `WrongUsage` for
    one that is empty: of a variable that is not set, the default is not what was meant."""
    if value == "" and not ctx.resilient_parsing:
        from workers.cli.errors import WrongUsage

        raise WrongUsage(
            f"--{param.name} is empty",
            details="it says nothing, and is not taken for the default",
            actions=("see that the variable it comes from is set", "or leave it out"),
        )
    if value and param.name:
        root = ctx.find_root()
        root.obj = replace(root.obj, **{param.name: value})


_BUS = "Over bus.url; nats, redis, rabbitmq or kafka: an embedded one."


def _shared(
    json: Annotated[  # noqa: ARG001
        bool,
        typer.Option("--json", help="Answer in JSON.", callback=remember, expose_value=False),
    ] = False,
    debug: Annotated[  # noqa: ARG001
        bool,
        typer.Option("--debug", help="Show tracebacks.", callback=remember, expose_value=False),
    ] = False,
    folder: Annotated[  # noqa: ARG001
        Path | None,
        typer.Option(
            "--folder",
            metavar="DIR",
            help="Where muster.toml, agents/ and .muster/ are; default: here.",
            callback=remember,
            expose_value=False,
        ),
    ] = None,
    bus: Annotated[  # noqa: ARG001
        str | None,
        typer.Option("--bus", metavar="URL", help=_BUS, callback=remember, expose_value=False),
    ] = None,
    fleet: Annotated[  # noqa: ARG001
        str | None,
        typer.Option(
            "--fleet",
            metavar="NAME",
            help="Over fleet.name.",
            callback=remember,
            expose_value=False,
        ),
    ] = None,
) -> None:
    return


def share(command: Any) -> None:
    """Give `command`, and those below it, the shared options it does not have itself."""
    template = typer.Typer(add_completion=False, rich_markup_mode=None)
    template.command()(_shared)
    options: Any = typer.main.get_command(template)
    own = {name for param in command.params for name in param.opts}
    command.params += [p for p in options.params if not own.intersection(p.opts)]
    for below in getattr(command, "commands", {}).values():
        share(below)
