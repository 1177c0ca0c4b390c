"""Runs the real command as people do: a process, its words and its exit code."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from tests.cli.forking import forked

GREETER = '''\
"""A role of these tests."""

from pydantic import BaseModel

from workers import Context, Reject, role


class Hello(BaseModel):
    name: str
    times: int = 1


@role("greeter", listens="greeter.#", attempts=1)
async def greet(hello: Hello, ctx: Context) -> dict[str, str] | Reject:
    """Greet."""
    await ctx.progress(0.5, "half way")
    if hello.name == "nobody":
        return Reject("nobody is there")
    return {"text": f"Hello, {hello.name}"}
'''


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The three lines of its error, without their heads."""
        shown = self.err.rstrip("\n").split("\n")[-3:]
        assert [line[:6] for line in shown] == ["error:", "  why:", "   do:"], self.err
        assert "Traceback" not in self.err
        return [line[6:].strip() for line in shown]

    @property
    def json(self) -> Any:
        """What it said, read as JSON."""
        return json.loads(self.out)


class Muster:
    """The command in a folder of its own, with an environment that says nothing else."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        plain = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
        none = {"MUSTER_HISTORY_URL": "none"}  # those who need one leave this setting out
        self.environment = {**plain, "COLUMNS": "200", **none, **settings}

    def command(self, *arguments: str) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", "workers.cli.main", *arguments]

    def __call__(self, *arguments: str, given: str = "", timeout: float = 60.0) -> Ended:
        """Run it to its end."""
        read, write = os.pipe()
        with os.fdopen(read, "rb") as stdin, TemporaryFile() as out, TemporaryFile() as err:
            with os.fdopen(write, "wb") as typed:
                typed.write(given.encode())  # as much as a pipe holds, and no test gives more
            streams = (stdin, out, err)
            with forked(arguments, self.folder, self.environment, *streams) as process:
                code = process.wait(timeout)
            out.seek(0)
            err.seek(0)
            return Ended(code, out.read().decode(), err.read().decode())

    def anew(self, *arguments: str) -> Ended:
        """The same, by a Python that is started for it; what it starts is, too."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=60.0)
        return Ended(process.returncode, out, err)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start it; the caller ends it."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def write(self, name: str, text: str) -> Path:
        """A file in its folder."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file


@contextmanager
def worked(
    url: str, folder: Path, role: str, source: str, *, drain: str = "2", history: str = "none"
) -> Iterator[Muster]:
    """The command in `folder` with one role, on a fleet of its own where one worker runs it."""
    muster = Muster(
        folder,
        MUSTER_BUS_URL=url,
        MUSTER_FLEET_NAME=f"cli-{secrets.token_hex(4)}",
        MUSTER_FLEET_DRAIN=drain,
        MUSTER_HISTORY_URL=history,
    )
    muster.write(f"agents/{role}.py", source)
    ended = muster("up", role, "--detach")
    assert ended.code == 0, ended.err
    yield muster
    assert muster("down").code == 0
