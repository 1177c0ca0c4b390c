"""`muster config`: the settings in force, and where each came from."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from workers.cli import output
from workers.cli.masking import masked
from workers.cli.options import Given

if TYPE_CHECKING:
    from contracts.errors import MusterError
    from workers.settings import Loaded


def config(ctx: typer.Context) -> None:
    """Show every setting, its value and its origin; secrets are masked."""
    given = Given.of(ctx)
    loaded = given.loaded()
    found = [
        {"name": name, "value": _shown(name, value), "origin": loaded.origins.get(name, "default")}
        for name, value in _flat(loaded.settings.model_dump(), "")
    ]
    folders = [str(folder) for folder in loaded.role_folders]
    policies, wrong = _policies(loaded)
    if given.json:
        shape = {"folder": str(loaded.folder), "roles": folders, "settings": found}
        output.as_json({**shape, "policies": policies, "roles_error": wrong and wrong.as_json()})
        return
    rows = [[s["name"], _word(s["name"], s["value"]), s["origin"]] for s in found]
    output.table(["SETTING", "VALUE", "FROM"], rows)
    output.say(f"folder {loaded.folder}\nroles of {', '.join(folders)}")
    if wrong is not None:
        output.note(f"the roles cannot be shown: {wrong}")
    elif policies:
        output.say("")
        names = ["ROLE", "CONCURRENCY", "TIMEOUT", "ATTEMPTS", "BACKOFF", "DELIVERY", "FROM"]
        output.table(names, [_row(policy) for policy in policies])


def _policies(loaded: "Loaded") -> "tuple[list[dict[str, Any]], MusterError | None]":
    """How each role is run, by its declaration and the settings; or why that is not known."""
    from workers.overriding import POLICY
    from workers.sdk.errors import RoleError
    from workers.wiring import all_roles

    try:
        roles = all_roles(loaded)
    except RoleError as error:
        return [], error
    found: list[dict[str, Any]] = []
    for name, role in sorted(roles.items()):
        origins = [loaded.origins.get(f"roles.{name}.{what}") for what in POLICY]
        shown = {"role": name, **{what: getattr(role, what) for what in POLICY}}
        shown |= {
            "delivery": role.delivery,
            "retry_on": [kind.__name__ for kind in role.retry_on or ()],
            "never_retry": [kind.__name__ for kind in role.never_retry],
            "origins": sorted({f"{role.file.name}:{role.line}", *filter(None, origins)}),
        }
        found.append(shown)
    return found, None


def _row(policy: dict[str, Any]) -> list[Any]:
    wait = f"{policy['backoff']:g} s · {policy['backoff_factor']:g}^n, at most "
    wait += f"{policy['backoff_cap']:g} s, jitter {policy['backoff_jitter']:g}"
    return [
        policy["role"],
        policy["concurrency"],
        f"{policy['timeout']:g} s",
        policy["attempts"],
        wait,
        policy["delivery"],
        ", ".join(policy["origins"]),
    ]


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
