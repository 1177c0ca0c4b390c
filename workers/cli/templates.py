"""What `muster new role` writes: a role with its test, in the form that was asked for."""

from string import Template

_ROLE = Template('''\
"""The role $name."""
$std
from pydantic import BaseModel

from workers import $names


class ${kind}Task(BaseModel):
    """What a task of this role says."""

    text: str


class ${kind}Result(BaseModel):
    """What this role answers."""

    text: str
    words: int

$resource
@role("$name", listens="$name.#")
$def_ $name($parameters) -> ${kind}Result:
    """Count the words of a text; replace this with your own work."""
    ${await_}ctx.progress(0.5, "counting")
$count
    return ${kind}Result(text=task.text, words=len(words))
''')

_RESOURCE = '''
@resource
async def vocabulary() -> AsyncIterator[set[str]]:
    """Opened once per worker process, before it is ready; closed after its last task. Open a
    pool of connections or a client here."""
    yield {"one", "two"}

'''

_TEST = Template('''\
"""The role $name, in a fleet in memory: no broker, and a clock that only moves when told to."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "agents"))

from $name import $imported  # noqa: E402

from workers.testing import MemoryFleet  # noqa: E402


def test_it_counts_words() -> None:
    async def scenario() -> None:
        async with MemoryFleet($given) as fleet:
            task = await fleet.publish("$name.hello", ${kind}Task(text="one two three"))
            assert (await fleet.result(task))["words"] == 3

    asyncio.run(scenario())


def test_it_outlives_the_crash_of_its_worker() -> None:
    async def scenario() -> None:
        async with MemoryFleet($given) as fleet:
            fleet.faults.drop()  # the first hand-over is lost, as with a worker that dies
            task = await fleet.publish("$name.hello", ${kind}Task(text="one two"))
            assert (await fleet.result(task))["words"] == 2
            assert await fleet.dead_letters() == []

    asyncio.run(scenario())
''')


def role_and_test(name: str, *, plain: bool, with_resource: bool) -> tuple[str, str]:
    """The two files. `plain`: a `def` that runs in a thread; else `async def`."""
    kind = "".join(part.title() for part in name.split("_"))
    ctx = "SyncContext" if plain else "Context"
    parameters = f"task: {kind}Task, ctx: {ctx}"
    count = "    words = task.text.split()"
    given, imported = name, [f"{kind}Task", name]
    if with_resource:
        parameters += ", known: Annotated[set[str], vocabulary]"
        count = "    words = [word for word in task.text.split() if word in known]"
        given = f'{name}, resources={{vocabulary: {{"one", "two", "three"}}}}'
        imported.append("vocabulary")
    used = {ctx, "role", "resource"} if with_resource else {ctx, "role"}
    words = {
        "name": name,
        "kind": kind,
        "std": _STD if with_resource else "",
        "names": ", ".join(sorted(used, key=lambda word: (word.islower(), word))),
        "resource": _RESOURCE if with_resource else "",
        "def_": "def" if plain else "async def",
        "await_": "" if plain else "await ",
        "parameters": parameters,
        "count": count,
        "given": given,
        "imported": ", ".join(sorted(imported, key=lambda word: (word.islower(), word))),
    }
    return _ROLE.substitute(words), _TEST.substitute(words)


_STD = """
from collections.abc import AsyncIterator
from typing import Annotated
"""
