"""Settings: where each value comes from, and what is said about a wrong one."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bus.backoff import Backoff
from contracts.limits import Limit, Rate
from workers import limiting
from workers.engine.executor import policy_of
from workers.overriding import overridden
from workers.role_settings import RoleSettings
from workers.sdk.role import MARK, Role, role
from workers.settings import Loaded, SettingsError, load, role_folders

Write = Callable[[str], None]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes `muster.toml`."""

    def put(text: str) -> None:
        (tmp_path / "muster.toml").write_text(text, encoding="utf-8")

    return put


def loaded(folder: Path, environment: dict[str, str] | None = None, **flags: Any) -> Loaded:
    """The settings of this folder; flags by name with `__` for the dot."""
    named = {name.replace("__", "."): value for name, value in flags.items()}
    return load(folder, flags=named, environment=environment or {})


def refused(folder: Path, environment: dict[str, str] | None = None, **flags: Any) -> SettingsError:
    """Why these settings cannot be used."""
    with pytest.raises(SettingsError) as caught:
        loaded(folder, environment, **flags)
    return caught.value


def test_without_anything_there_are_defaults(tmp_path: Path) -> None:
    found = loaded(tmp_path)
    assert (found.settings.fleet.name, found.settings.fleet.lease) == ("default", 10.0)
    assert (found.settings.bus.url, found.settings.fleet.drain) == (None, 25.0)
    assert found.settings.fleet.give_up == 300.0
    assert (found.settings.health.enabled, found.settings.health.port) == (True, 0)
    assert found.settings.health.host == "127.0.0.1"
    assert found.settings.history.url is None
    assert found.origins == {}
    assert found.state == tmp_path / ".muster"


def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, write: Write
) -> None:
    """Value by value, each with its origin."""
    write('[fleet]\nname = "file"\nlease = 3\ndrain = 4\n[bus]\nport = 1\n')
    environment = {"MUSTER_FLEET_NAME": "env", "MUSTER_FLEET_LEASE": "5", "PATH": "/bin"}
    found = loaded(tmp_path, environment, fleet__name="flag", bus__url=None)
    fleet = found.settings.fleet
    assert (fleet.name, fleet.lease, fleet.drain) == ("flag", 5.0, 4.0)
    assert dict(found.origins) == {
        "fleet.name": "flag",
        "fleet.lease": "MUSTER_FLEET_LEASE",
        "fleet.drain": "muster.toml",
        "bus.port": "muster.toml",
    }


@pytest.mark.parametrize("given", ["20GB", "20000000000", "20_000 MB"])
def test_sizes_are_bytes_or_have_a_unit(tmp_path: Path, given: str) -> None:
    found = loaded(tmp_path, {"MUSTER_BUS_MAX_BYTES": given.replace("_", "")})
    assert found.settings.bus.max_bytes == 20_000_000_000


def test_roles_have_settings_of_their_own(tmp_path: Path, write: Write) -> None:
    write("[roles.researcher]\nreplicas = 4\n[roles.my-coder]\nconcurrency = 2\n")
    found = loaded(tmp_path)
    assert found.settings.roles["researcher"].replicas == 4
    assert found.settings.roles["my-coder"].concurrency == 2
    assert found.origins["roles.researcher.replicas"] == "muster.toml"


LIMITS = """
[roles.researcher]
rate = "5/s"
burst = 3
max_running = 10
[limits.tenants.acme]
rate = "100/s"
concurrency = 20
quota = "10000/day"
[limits.tenants."a.b"]
quota = "5/min"
[limits.tenants."*"]
concurrency = 2
"""


def test_limits_are_given_by_role_and_by_tenant(tmp_path: Path, write: Write) -> None:
    """A tenant's name may hold dots; `*` is every other one."""
    write(LIMITS)
    found = loaded(tmp_path)
    role, tenants = found.settings.roles["researcher"], found.settings.limits.tenants
    assert (role.rate, role.burst, role.max_running) == ("5/s", 3, 10)
    assert (tenants["acme"].rate, tenants["acme"].quota) == ("100/s", "10000/day")
    assert (tenants["a.b"].quota, tenants["*"].concurrency) == ("5/min", 2)
    assert found.origins["limits.tenants.a.b.quota"] == "muster.toml"


def test_limits_of_the_settings_take_the_place_of_the_roles_own(
    tmp_path: Path, write: Write
) -> None:
    """Those of the same kind; what is by tenant or field stays."""
    write(LIMITS)
    settings = loaded(tmp_path).settings
    own = [Limit(rate="1/s", concurrency=3), Limit(concurrency=1, by="tenant")]
    found = limiting.limited(_role(own), settings.roles["researcher"])
    assert set(found.limits) == {
        Limit(concurrency=1, by="tenant"),
        Limit(rate="5/s", burst=3),
        Limit(concurrency=10),
    }
    unchanged = limiting.limited(_role(own), RoleSettings())
    assert set(unchanged.limits) == {
        Limit(concurrency=1, by="tenant"),
        Limit(rate="1/s"),
        Limit(concurrency=3),
    }
    assert limiting.tenants(settings) == {
        "acme": Limit(rate="100/s", concurrency=20),
        "*": Limit(concurrency=2),
    }
    assert limiting.quotas(settings) == {"acme": Rate(10_000, 86_400.0), "a.b": Rate(5, 60.0)}


def _role(limits: list[Limit]) -> Role:
    @role("researcher", limits=limits)
    async def handler(payload: None, ctx: None) -> None:
        """Nothing."""

    found = getattr(handler, MARK)
    assert isinstance(found, Role)
    return found


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ('[roles.a]\nrate = "fast"\n', "roles.a.rate", "write it as 10/s"),
        ("[roles.a]\nmax_running = 0\n", "roles.a.max_running", "greater than"),
        ("[roles.a]\nburst = 2\n", "roles.a", "burst belongs to a rate"),
        ('[limits.tenants.x]\nquota = "5"\n', "limits.tenants.x.quota", "write it as 10/s"),
        ("[limits.tenants.x]\nconcurrency = 0\n", "limits.tenants.x.concurrency", "greater than"),
    ],
)
def test_a_limit_that_cannot_work_is_refused(
    tmp_path: Path, write: Write, text: str, name: str, says: str
) -> None:
    write(text)
    error = refused(tmp_path)
    assert error.message.startswith(f"the setting {name} cannot be ")
    assert says in error.details


@pytest.mark.parametrize(
    ("text", "name", "near"),
    [
        ('[limits.tenants.x]\nqota = "1/s"\n', "limits.tenants.x.qota", "limits.tenants.x.quota"),
        (
            '[limits.tenant.x]\nquota = "1/s"\n',
            "limits.tenant.x.quota",
            "limits.tenants.NAME.quota",
        ),
        ("[limits]\ntenants = 5\n", "limits.tenants", "limits.tenants.NAME.rate"),
        ("[roles.a]\nmax_runing = 1\n", "roles.a.max_runing", "roles.a.max_running"),
        ("[fleet]\nleese = 3\n", "fleet.leese", "fleet.lease"),
        ("[flet]\nname = 'x'\n", "flet.name", "fleet.name"),
        ("[bus]\nURL = 'x'\n", "bus.URL", "bus.url"),
        ("[roles.coder]\nreplica = 1\n", "roles.coder.replica", "roles.coder.replicas"),
        ("[fleet.name]\nx = 1\n", "fleet.name.x", "fleet.name"),
    ],
)
def test_an_unknown_key_in_the_file_names_the_nearest(
    tmp_path: Path, write: Write, text: str, name: str, near: str
) -> None:
    write(text)
    error = refused(tmp_path)
    assert error.message == f"there is no setting {name!r}"
    assert error.details == f"from muster.toml; did you mean {near}?"


def test_an_unknown_variable_names_the_nearest(tmp_path: Path) -> None:
    error = refused(tmp_path, {"MUSTER_FLEET_LEESE": "3"})
    assert error.message == "there is no setting 'fleet.leese'"
    assert error.details == "from MUSTER_FLEET_LEESE; did you mean fleet.lease?"


@pytest.mark.parametrize("variable", ["MUSTER_QQQ", "MUSTER_QQQ_XXX", "MUSTER_"])
def test_a_variable_unlike_any_setting_is_refused_too(tmp_path: Path, variable: str) -> None:
    assert f"from {variable}" in refused(tmp_path, {variable: "1"}).details


def test_an_unknown_flag_names_the_nearest(tmp_path: Path) -> None:
    assert "did you mean bus.url?" in refused(tmp_path, bus__ur1="x").details


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"MUSTER_FLEET_LEASE": "soon"}, "fleet.lease"),
        ({"MUSTER_FLEET_LEASE": "1"}, "fleet.lease"),
        ({"MUSTER_FLEET_DRAIN": "-1"}, "fleet.drain"),
        ({"MUSTER_FLEET_GIVE_UP": "4.9"}, "fleet.give_up"),
        ({"MUSTER_FLEET_GIVE_UP": "nan"}, "fleet.give_up"),
        ({"MUSTER_HEALTH_ENABLED": "perhaps"}, "health.enabled"),
        ({"MUSTER_HEALTH_PORT": "-1"}, "health.port"),
        ({"MUSTER_HEALTH_HOST": ""}, "health.host"),
        ({"MUSTER_FLEET_NAME": "Has Spaces"}, "fleet.name"),
        ({"MUSTER_BUS_PORT": "99999"}, "bus.port"),
        ({"MUSTER_BUS_MAX_BYTES": "10 elephants"}, "bus.max_bytes"),
        ({"MUSTER_BUS_MAX_BYTES": "1000"}, "bus.max_bytes"),
        ({"MUSTER_LOG_FORMAT": "xml"}, "log.format"),
        ({"MUSTER_LOG_LEVEL": "loud"}, "log.level"),
        ({"MUSTER_TELEMETRY_OTLP": "127.0.0.1:4318"}, "telemetry.otlp"),
        ({"MUSTER_TELEMETRY_SAMPLE": "1.5"}, "telemetry.sample"),
        ({"MUSTER_TELEMETRY_TENANTS": "-1"}, "telemetry.tenants"),
    ],
)
def test_a_value_out_of_range_names_the_setting_and_its_origin(
    tmp_path: Path, environment: dict[str, str], name: str
) -> None:
    ((variable, value),) = environment.items()
    error = refused(tmp_path, environment)
    assert error.message == f"the setting {name} cannot be {value!r}"
    assert error.details.startswith(f"from {variable}: ")


def test_what_is_said_of_a_wrong_value_tells_no_password(tmp_path: Path) -> None:
    error = refused(tmp_path, telemetry__otlp="grpc://me:hush@127.0.0.1:4317")
    assert "telemetry.otlp" in error.message
    assert "grpc://me:***@127.0.0.1:4317" in error.message


def test_a_wrong_value_in_the_file_names_the_file(tmp_path: Path, write: Write) -> None:
    write("[roles.coder]\nreplicas = -1\n")
    error = refused(tmp_path)
    assert error.message == "the setting roles.coder.replicas cannot be -1"
    assert error.details.startswith("from muster.toml: ")


@pytest.mark.parametrize("content", [b"[fleet\n", b"fleet = \xff\n", b"[a]\nb = 1\nb = 2\n"])
def test_a_file_that_cannot_be_read_is_said_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "muster.toml").write_bytes(content)
    assert "muster.toml cannot be read" in refused(tmp_path).message


@pytest.mark.parametrize("text", ["fleet = 5\n", "roles = 5\n", "[roles]\ncoder = 5\n"])
def test_a_value_where_a_section_belongs_is_refused(
    tmp_path: Path, write: Write, text: str
) -> None:
    write(text)
    assert "there is no setting" in refused(tmp_path).message


def test_variables_that_stand_outside_are_no_settings(tmp_path: Path) -> None:
    found = loaded(tmp_path, {"MUSTER_ROLES": "x", "MUSTER_REQUIRE": "all"})
    assert found.origins == {}


def test_roles_are_looked_for_in_agents_unless_folders_are_named(tmp_path: Path) -> None:
    """Separated like PATH; relative ones belong to the folder of the settings."""
    assert role_folders(tmp_path, {}) == [tmp_path / "agents"]
    assert role_folders(tmp_path, {"MUSTER_ROLES": ""}) == [tmp_path / "agents"]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    named = os.pathsep.join(["one", str(tmp_path / "two"), ""])
    found = role_folders(tmp_path, {"MUSTER_ROLES": named})
    assert found == [tmp_path / "one", tmp_path / "two"]


def test_a_named_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    """Unlike `agents`, which nobody asked for."""
    with pytest.raises(SettingsError, match="does not exist") as caught:
        role_folders(tmp_path, {"MUSTER_ROLES": "nowhere"})
    assert str(tmp_path / "nowhere") in caught.value.message


def test_the_settings_of_a_fleet_know_where_its_roles_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("MUSTER_ROLES", "mine")
    assert load(tmp_path).role_folders == [tmp_path / "mine"]


def test_the_settings_of_a_role_take_the_place_of_its_own(tmp_path: Path, write: Write) -> None:
    write(
        "[roles.worker]\nattempts = 9\ntimeout = 7.5\nbackoff = 2\nbackoff_factor = 3\n"
        "backoff_cap = 60\nbackoff_jitter = 0.25\nconcurrency = 3\n"
    )
    settings = loaded(tmp_path).settings.roles["worker"]
    made = overridden(_declared(timeout=5.0, backoff=1.0), settings)
    assert (made.attempts, made.timeout, made.concurrency) == (9, 7.5, 3)
    policy = policy_of(made)
    assert (policy.attempts, policy.backoff) == (9, Backoff(2.0, 60.0, 3.0, 0.25))


def test_what_settings_leave_out_stays_as_the_role_says() -> None:
    own = _declared(attempts=2, timeout=5.0, backoff=4.0, backoff_jitter=0.5)
    made = overridden(own, RoleSettings(replicas=3))
    assert (made.attempts, made.timeout, made.backoff, made.backoff_jitter) == (2, 5.0, 4.0, 0.5)


@pytest.mark.parametrize(
    "line",
    [
        "attempts = 0",
        "timeout = 0",
        "timeout = inf",
        "backoff = -1",
        "backoff_factor = 0.9",
        "backoff_cap = nan",
        "backoff_jitter = 1.1",
    ],
)
def test_a_policy_that_cannot_be_is_refused(tmp_path: Path, write: Write, line: str) -> None:
    write(f"[roles.worker]\n{line}\n")
    assert f"roles.worker.{line.split(maxsplit=1)[0]}" in refused(tmp_path).message


def test_a_role_whose_tasks_start_once_cannot_be_given_more_attempts() -> None:
    once = _declared(delivery="once")
    assert overridden(once, RoleSettings(attempts=1, timeout=3.0)).timeout == 3.0
    with pytest.raises(SettingsError, match=r"roles\.worker\.attempts cannot be 2") as caught:
        overridden(once, RoleSettings(attempts=2))
    assert "started at most once" in caught.value.details


def _declared(**options: Any) -> Role:
    async def handler(payload: object, ctx: object) -> None: ...

    made = getattr(role("worker", **options)(handler), MARK)
    assert isinstance(made, Role)
    return made
