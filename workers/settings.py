"""The effective configuration: `muster.toml`, then `MUSTER_SECTION_KEY`, then flags.

Read once and validated at start. An unknown key is an error that names the nearest valid one;
every value knows where it came from.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import ByteSize, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from contracts.errors import MusterError
from contracts.topics import near
from workers.health.settings import HealthSettings
from workers.history.settings import HistorySettings
from workers.role_settings import LimitSettings, RoleSettings, Section, TenantSettings
from workers.telemetry.masking import mask_line
from workers.telemetry.settings import LogSettings, TelemetrySettings

FILE = "muster.toml"

OUTSIDE = frozenset({"MUSTER_ROLES", "MUSTER_REQUIRE", "MUSTER_LONG", "MUSTER_BROKERS"})
"""Variables that are not settings: folders of roles, servers that tests must have, their forms,
and the brokers they run on."""


class SettingsError(MusterError):
    """A configuration that cannot be used."""


class FleetSettings(Section):
    """`name` prefixes everything created on a broker; `lease`, `drain` and `give_up` (without the
    broker) in seconds; `slices`: into how many parts each lane is cut by tenant, which get fair
    turns."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")] = "default"
    lease: Annotated[float, Field(ge=2.0, le=3600.0)] = 10.0
    drain: Annotated[float, Field(ge=0.0, le=3600.0)] = 25.0
    give_up: Annotated[float, Field(ge=5.0, le=86_400.0)] = 300.0
    slices: Annotated[int, Field(ge=1, le=16)] = 1


class BusSettings(Section):
    """`url` None: the embedded NATS server of this folder; `nats`, `redis`, `rabbitmq` or `kafka`:
    that one, embedded. `port`: of the embedded one, 0 = any
    free one. `max_bytes`: what the fleet's tasks may fill, in bytes or as `20GB`; None leaves it as
    it was set before, at first 10 GB. `database`: the PostgreSQL beside RabbitMQ, Kafka or two
    buses; None is the one of history. `fallback`: a second bus, used when the first is away."""

    url: str | None = None
    fallback: str | None = None
    database: str | None = None
    max_bytes: Annotated[ByteSize, Field(ge=1_000_000)] | None = None
    port: Annotated[int, Field(ge=0, le=65535)] = 0


_NAMED: Mapping[str, Any] = MappingProxyType(
    {"roles": RoleSettings, "limits.tenants": TenantSettings}
)
"""Sections whose parts have names of their own, and what each part holds."""


class Settings(BaseSettings):
    """All settings of one process."""

    model_config = SettingsConfigDict(
        env_prefix="MUSTER_", env_nested_delimiter="_", extra="forbid", frozen=True
    )

    fleet: FleetSettings = FleetSettings()
    bus: BusSettings = BusSettings()
    history: HistorySettings = HistorySettings()
    health: HealthSettings = HealthSettings()
    log: LogSettings = LogSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    roles: dict[str, RoleSettings] = {}
    limits: LimitSettings = LimitSettings()

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
    if not file.exists():
        return {}
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(
            f"{file} cannot be read", details=str(error), actions=("correct the file",)
        ) from error
    return {name: (value, str(file.name)) for name, value in _flat(tree, "")}


def _flat(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and (key != "replicas" or prefix in {"", "roles."}):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _from_environment(environment: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    found: dict[str, tuple[Any, str]] = {}
    for variable, value in environment.items():
        if variable.startswith("MUSTER_") and variable not in OUTSIDE:
            section, _, key = variable[7:].lower().partition("_")
            found[f"{section}.{key}" if key else section] = (value, variable)
    return found


def _sections() -> dict[str, Any]:
    """Every section and the model that holds its keys."""
    plain = {n: info.annotation for n, info in Settings.model_fields.items()}
    return {**{n: kind for n, kind in plain.items() if n not in {"roles", "limits"}}, **_NAMED}


def _path(name: str) -> list[str]:
    """The words of a dotted name; what stands for a role or a tenant may hold dots itself."""
    for section in _NAMED:
        inside = name.removeprefix(f"{section}.")
        own, dot, key = inside.rpartition(".")
        if inside != name and dot:
            return [*section.split("."), own, key]
    return name.split(".")


def _every(like: str) -> list[str]:
    """Every setting; those of a role or a tenant with the name it has in `like`."""
    parts, found = _path(like), list[str]()
    for section, kind in _sections().items():
        depth = section.count(".") + 1
        inside = len(parts) == depth + 2 and ".".join(parts[:depth]) == section
        own = "" if section not in _NAMED else f".{parts[depth] if inside else 'NAME'}"
        found += [f"{section}{own}.{key}" for key in kind.model_fields]
    return found


def _check_name(name: str, origin: str) -> None:
    every = _every(name)
    if name in every:
        return
    close = near(name, every, limit=1)
    raise SettingsError(
        f"there is no setting {name!r}",
        details=f"from {origin}; " + (f"did you mean {close[0]}?" if close else "none is like it"),
        actions=("see all of them: `muster config`",),
    )


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *path, last = _path(name)
        level = tree
        for word in path:
            level = level.setdefault(word, {})
        level[last] = value
    return tree


def _invalid(error: ValidationError, values: Mapping[str, tuple[Any, str]]) -> SettingsError:
    first = error.errors(include_url=False)[0]
    name = ".".join(map(str, first["loc"]))
    origin = values.get(name, (None, "the defaults"))[1]
    said = first["msg"].removeprefix("Value error, ")
    what, why = f"the setting {name} cannot be {first['input']!r}", f"from {origin}: {said}"
    return SettingsError(mask_line(None, "", what), details=why, actions=("correct the value",))
