"""`muster config`: the settings in force, and where each came from."""

from collections.abc import Iterator
from typing import Any

import typer

from workers.cli import output
from workers.cli.masking import masked
from workers.cli.options import Given


def config(ctx: typer.Context) -> None:
    """Show every setting, its value and its origin; secrets are masked."""
    given = Given.of(ctx)
    loaded = given.loaded()
    found = [
        {"name": name, "value": _shown(name, value), "origin": loaded.origins.get(name, "default")}
        for name, value in _flat(loaded.settings.model_dump(), "")
    ]
    folders = [str(folder) for folder in loaded.role_folders]
    if given.json:
        output.as_json({"folder": str(loaded.folder), "roles": folders, "settings": found})
        return
    rows = [[s["name"], _word(s["name"], s["value"]), s["origin"]] for s in found]
    output.table(["SETTING", "VALUE", "FROM"], rows)
    output.say(f"folder {loaded.folder}\nroles of {', '.join(folders)}")


def _flat(tree: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and not (key == "replicas" and prefix != "roles."):
            yield from _flat(value, f"{name}.")
        else:
            yield name, value


def _word(name: str, value: Any) -> Any:
    """What stands in the table for a value that is not there."""
    absent = "embedded" if name.endswith("url") else "none"
    return absent if value is None else value


def _shown(name: str, value: Any) -> Any:
    """An address may hold a password, whatever is written where one belongs may be one."""
    if isinstance(value, str) and (name.endswith("url") or "://" in value):
        return masked(value)
    return value
