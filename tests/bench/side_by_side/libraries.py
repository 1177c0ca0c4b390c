"""The queues that are compared: how each is installed, published to and worked for.

Each has an environment of its own in `.venv-bench`, made when it is first needed from the extra of
its name, so that what it asks for cannot disturb what muster is tested with.
"""

import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.servers import MUSTER, ROOT

ADAPTERS = "tests.bench.side_by_side.adapters"


@dataclass(frozen=True, slots=True)
class Library:
    """`times`: how many times its rate muster is to have. `work`: its worker, for its Python."""

    name: str
    work: tuple[str, ...]
    times: float = 0.0

    @property
    def adapter(self) -> str:
        """The module that publishes, when it is run."""
        return f"{ADAPTERS}.for_{self.name}"


OTHERS = (
    Library("dramatiq", ("-m", "dramatiq", f"{ADAPTERS}.for_dramatiq", "-p", "1", "-t", "8"), 8),
    Library(
        "taskiq",
        (
            *("-m", "taskiq", "worker", f"{ADAPTERS}.for_taskiq:broker", "--workers", "1"),
            *("--max-async-tasks", "100", "--log-level", "WARNING"),
        ),
        6,
    ),
    Library(
        "celery",
        (
            *("-m", "celery", "-A", f"{ADAPTERS}.for_celery", "worker", "--pool", "prefork"),
            *("--concurrency", "1", "--loglevel", "WARNING"),
        ),
        25,
    ),
    Library("arq", ("-m", f"{ADAPTERS}.for_arq", "work"), 25),
)

OURS = Library("muster", (*MUSTER[1:], "work", "noop"))


def python_of(library: Library) -> str:
    """The Python that has it, installed where it is not. That takes a minute, once."""
    if library is OURS:
        return sys.executable
    folder = ROOT / ".venv-bench" / library.name
    python, done = folder / "bin" / "python", folder / ".installed"
    wanted = _requirements(library.name)
    if not done.exists() or done.read_text(encoding="utf-8") != "\n".join(wanted):
        print(f"installing {', '.join(wanted)}", file=sys.stderr)
        _run(sys.executable, "-m", "venv", "--clear", str(folder))
        _run(str(python), "-m", "pip", "install", "--quiet", *wanted)
        done.write_text("\n".join(wanted), encoding="utf-8")
    return str(python)


def version_of(library: Library) -> str:
    """What is installed."""
    if library is OURS:
        return "this tree"
    code = f"from importlib.metadata import version; print(version({library.name!r}))"
    return _run(python_of(library), "-c", code).strip()


def _requirements(name: str) -> Sequence[str]:
    """Those of the extra `bench-NAME`."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: list[str] = tomllib.load(file)["project"]["optional-dependencies"][f"bench-{name}"]
    return found


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
