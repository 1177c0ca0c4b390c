"""`muster new`: a working role with its test."""

import keyword
import re
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from workers.cli import output
from workers.cli.errors import WrongUsage
from workers.cli.options import Given

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")

_ROLE = Template('''\
"""The role $name."""

from pydantic import BaseModel

from workers import Context, role


class ${kind}Task(BaseModel):
    """What a task of this role says."""

    text: str


class ${kind}Result(BaseModel):
    """What this role answers."""

    text: str
    words: int


@role("$name", listens="$name.#")
async def $name(task: ${kind}Task, ctx: Context) -> ${kind}Result:
    """Count the words of a text; replace this with your own work."""
    await ctx.progress(0.5, "counting")
    return ${kind}Result(text=task.text, words=len(task.text.split()))
''')

_TEST = Template('''\
"""The role $name, in a fleet in memory: no broker, and a clock that only moves when told to."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "agents"))

from $name import ${kind}Task, $name  # noqa: E402

from workers.testing import MemoryFleet  # noqa: E402


def test_it_counts_words() -> None:
    async def scenario() -> None:
        async with MemoryFleet($name) as fleet:
            task = await fleet.publish("$name.hello", ${kind}Task(text="one two three"))
            assert (await fleet.result(task))["words"] == 3

    asyncio.run(scenario())


def test_it_outlives_the_crash_of_its_worker() -> None:
    async def scenario() -> None:
        async with MemoryFleet($name) as fleet:
            fleet.faults.drop()  # the first hand-over is lost, as with a worker that dies
            task = await fleet.publish("$name.hello", ${kind}Task(text="one two"))
            assert (await fleet.result(task))["words"] == 2
            assert await fleet.dead_letters() == []

    asyncio.run(scenario())
''')

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.callback()
def new() -> None:
    """Write working code to begin with."""


@app.command()
def role(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="a-z, 0-9 and '_'; it listens to NAME.#")],
) -> None:
    """Write agents/NAME.py and tests/test_NAME.py, which passes."""
    given = Given.of(ctx)
    folder = given.loaded().folder
    _check_name(name)
    words = {"name": name, "kind": "".join(part.title() for part in name.split("_"))}
    files = {
        folder / "agents" / f"{name}.py": _ROLE.substitute(words),
        folder / "tests" / f"test_{name}.py": _TEST.substitute(words),
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
