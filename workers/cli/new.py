"""`muster new`: a working role with its test."""

import keyword
import re
from pathlib import Path
from typing import Annotated

import typer

from workers.cli import output
from workers.cli.errors import WrongUsage
from workers.cli.options import Given
from workers.cli.templates import role_and_test

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.callback()
def new() -> None:
    """Write working code to begin with."""


@app.command()
def role(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="a-z, 0-9 and '_'; it listens to NAME.#")],
    plain: Annotated[bool, typer.Option("--plain", help="A `def` that runs in a thread.")] = False,
    resource: Annotated[
        bool, typer.Option("--resource", help="With something opened once per worker.")
    ] = False,
) -> None:
    """Write agents/NAME.py and tests/test_NAME.py, which passes."""
    given = Given.of(ctx)
    folder = given.loaded().folder
    _check_name(name)
    role_text, test_text = role_and_test(name, plain=plain, with_resource=resource)
    files = {
        folder / "agents" / f"{name}.py": role_text,
        folder / "tests" / f"test_{name}.py": test_text,
    }
    _refuse_existing(list(files))
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    if given.json:
        output.as_json({"role": name, "files": [str(file) for file in files]})
        return
    for file in files:
        output.say(f"wrote {file.relative_to(folder)}")
    output.note(
        f"next: `python -m pytest tests/test_{name}.py`, then `muster up {name}` and\n"
        f"""      `muster publish {name}.hello '{{"text": "hello"}}' --wait`"""
    )


def _check_name(name: str) -> None:
    if not _NAME.match(name):
        reason = "use 1 to 40 of a-z, 0-9 and '_', a letter first: it names a file and a function"
    elif keyword.iskeyword(name):
        reason = "it is a word of Python itself"
    elif (Path(__file__).parents[1] / "roles" / f"{name}.py").exists():
        reason = "a built-in role has this name"
    else:
        return
    raise WrongUsage(
        f"{name!r} cannot be the name of a role", details=reason, actions=("choose another name",)
    )


def _refuse_existing(files: list[Path]) -> None:
    there = next((file for file in files if file.exists()), None)
    if there is not None:
        raise WrongUsage(
            f"{there} exists already",
            details="nothing was written",
            actions=("choose another name, or remove the file",),
        )
