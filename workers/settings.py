"""The effective configuration: `muster.toml`, then `MUSTER_SECTION_KEY`, then flags.

Read once and validated at start. An unknown key is an error that names the nearest valid one;
every value knows where it came from.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from contracts.errors import MusterError
from contracts.topics import near

FILE = "muster.toml"

OUTSIDE = frozenset({"MUSTER_ROLES", "MUSTER_REQUIRE"})
"""Variables that are not settings: where roles are found, and which servers tests must have."""


class SettingsError(MusterError):
    """A configuration that cannot be used."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FleetSettings(_Section):
    """`name` prefixes everything created on a broker; `lease` and `drain` in seconds."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")] = "default"
    lease: Annotated[float, Field(ge=2.0, le=3600.0)] = 10.0
    drain: Annotated[float, Field(ge=0.0, le=3600.0)] = 25.0


class BusSettings(_Section):
    """`url` None: the embedded NATS server of this folder. `port`: of the embedded one, 0 = any
    free one. `max_bytes`: what the fleet's tasks may fill, in bytes or as `20GB`; None leaves it as
    it was set before, at first 10 GB."""

    url: str | None = None
    max_bytes: Annotated[ByteSize, Field(ge=1_000_000)] | None = None
    port: Annotated[int, Field(ge=0, le=65535)] = 0


class LogSettings(_Section):
    """How log lines look: `pretty` for people, `json` for machines."""

    format: Literal["pretty", "json"] = "pretty"
    level: Literal["debug", "info", "warning", "error"] = "info"


class RoleSettings(_Section):
    """`replicas`: worker processes that `muster up` keeps alive. `concurrency` overrides the
    role's own."""

    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    concurrency: Annotated[int, Field(ge=1, le=10_000)] | None = None


class Settings(BaseSettings):
    """All settings of one process."""

    model_config = SettingsConfigDict(
        env_prefix="MUSTER_", env_nested_delimiter="_", extra="forbid", frozen=True
    )

    fleet: FleetSettings = FleetSettings()
    bus: BusSettings = BusSettings()
    log: LogSettings = LogSettings()
    roles: dict[str, RoleSettings] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` has merged: it knows where each value came from."""
        return (init_settings,)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, the folder they belong to, and the origin of each value that is not a default,
    by its dotted name."""

    settings: Settings
    folder: Path
    origins: Mapping[str, str]

    @property
    def state(self) -> Path:
        """Where embedded services and the supervisor keep what is theirs."""
        return self.folder / ".muster"

    @property
    def role_folders(self) -> list[Path]:
        """Where roles of this folder's fleet are found."""
        return role_folders(self.folder, os.environ)


def load(
    folder: Path | None = None,
    *,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Loaded:
    """Read `muster.toml` of `folder` (default: the working directory), then the environment, then
    `flags` by dotted name (`bus.url`; a value of None is left out). Raises `SettingsError`."""
    where = (folder or Path.cwd()).resolve()
    values: dict[str, tuple[Any, str]] = {}
    values.update(_from_file(where / FILE))
    values.update(_from_environment(os.environ if environment is None else environment))
    values.update({k: (v, "flag") for k, v in (flags or {}).items() if v is not None})
    for name, (_, origin) in values.items():
        _check_name(name, origin)
    try:
        settings = Settings(**_nested({name: value for name, (value, _) in values.items()}))
    except ValidationError as error:
        raise _invalid(error, values) from error
    return Loaded(settings, where, MappingProxyType({k: o for k, (_, o) in values.items()}))


def role_folders(folder: Path, environment: Mapping[str, str]) -> list[Path]:
    """The folders of `MUSTER_ROLES` (separated like PATH), default `./agents`."""
    named = environment.get("MUSTER_ROLES")
    parts = [part for part in (named or "agents").split(os.pathsep) if part]
    folders = [(folder / part).resolve() for part in parts]
    for path in folders:
        if named and not path.exists():
            raise SettingsError(
                f"MUSTER_ROLES names {path}, which does not exist",
                details="roles are looked for in the folders it names",
                actions=("correct MUSTER_ROLES", "or create the folder"),
            )
    return folders


def _from_file(file: Path) -> dict[str, tuple[Any, str]]:
    if not file.is_file():
        return {}
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(
            f"{file} cannot be read", details=str(error), actions=("correct the file",)
        ) from error
    return {name: (value, str(file.name)) for name, value in _flat(tree, "")}


def _flat(tree: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        found += _flat(value, f"{name}.") if isinstance(value, dict) else [(name, value)]
    return found


def _from_environment(environment: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    found: dict[str, tuple[Any, str]] = {}
    for variable, value in environment.items():
        if variable.startswith("MUSTER_") and variable not in OUTSIDE:
            section, _, key = variable[7:].lower().partition("_")
            found[f"{section}.{key}" if key else section] = (value, variable)
    return found


def _names() -> dict[str, list[str]]:
    """Every section and its keys."""
    known: dict[str, list[str]] = {}
    for section, info in Settings.model_fields.items():
        kind: Any = RoleSettings if section == "roles" else info.annotation
        known[section] = list(kind.model_fields)
    return known


def _check_name(name: str, origin: str) -> None:
    known = _names()
    parts = name.split(".")
    right = (parts[0] in known) and (
        (parts[0] == "roles" and len(parts) == 3 and parts[2] in known["roles"])
        or (parts[0] != "roles" and len(parts) == 2 and parts[1] in known[parts[0]])
    )
    if right:
        return
    role = parts[1] if parts[0] == "roles" and len(parts) > 1 else "NAME"
    every = [f"{s}.{role}.{k}" if s == "roles" else f"{s}.{k}" for s in known for k in known[s]]
    close = near(name, every, limit=1)
    raise SettingsError(
        f"there is no setting {name!r}",
        details=f"from {origin}; " + (f"did you mean {close[0]}?" if close else "none is like it"),
        actions=("see all of them: `muster config`",),
    )


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *path, last = name.split(".")
        level = tree
        for word in path:
            level = level.setdefault(word, {})
        level[last] = value
    return tree


def _invalid(error: ValidationError, values: Mapping[str, tuple[Any, str]]) -> SettingsError:
    first = error.errors(include_url=False)[0]
    name = ".".join(map(str, first["loc"]))
    origin = values.get(name, (None, "the defaults"))[1]
    return SettingsError(
        f"the setting {name} cannot be {first['input']!r}",
        details=f"from {origin}: {first['msg']}",
        actions=("correct the value",),
    )
