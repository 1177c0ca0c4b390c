"""What a shell offers for a word of the command line. Nothing here may fail or take long."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from contracts.errors import MusterError
from workers.cli.options import Given

if TYPE_CHECKING:
    from workers.settings import Loaded

_DECLARED = re.compile(r"@role\(\s*[\"']([a-z0-9][a-z0-9_-]*)[\"']")
_MOST_FILES = 200


def roles(ctx: typer.Context, incomplete: str) -> list[str]:
    """The bound roles."""
    from workers.glance import groups

    loaded = _loaded(ctx)
    return _offered(groups(loaded), incomplete) if loaded else []


def declared(ctx: typer.Context, incomplete: str) -> list[str]:
    """The roles whose code is here, by the text of their declarations: nothing is imported."""
    loaded = _loaded(ctx)
    if loaded is None:
        return []
    folders = [Path(__file__).parents[1] / "roles", *_folders(loaded)]
    found = [name for folder in folders for name in _declared(folder)]
    return _offered(set(found), incomplete)


def _folders(loaded: "Loaded") -> list[Path]:
    try:
        return loaded.role_folders
    except MusterError:
        return []


def _declared(folder: Path) -> Iterator[str]:
    for file in sorted(folder.glob("*.py"))[:_MOST_FILES]:
        with suppress(OSError, UnicodeDecodeError):
            yield from _DECLARED.findall(file.read_text(encoding="utf-8"))


def topics(ctx: typer.Context, incomplete: str) -> list[str]:
    """Topics that somebody listens to, as far as their patterns say."""
    from workers.glance import groups

    loaded = _loaded(ctx)
    patterns = [p for found in groups(loaded).values() for p in found] if loaded else []
    return _offered({_beginning(pattern) for pattern in patterns} - {""}, incomplete)


def letters(ctx: typer.Context, incomplete: str) -> list[str]:
    """The ids of dead letters."""
    from workers.glance import dead

    loaded = _loaded(ctx)
    return _offered(dead(loaded), incomplete) if loaded else []


def _offered(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))


def _beginning(pattern: str) -> str:
    """What every topic of a pattern begins with."""
    words = pattern.split(".")
    wild = next((n for n, word in enumerate(words) if word in {"*", "#"}), None)
    if wild is None:
        return pattern
    return "".join(f"{word}." for word in words[:wild])


def _loaded(ctx: typer.Context) -> "Loaded | None":
    try:
        return Given.of(ctx).loaded()
    except MusterError:
        return None
