"""What a role says of itself, as the command shows it: parts, policies, errors at import."""

from collections.abc import Iterator

import pytest

from tests.cli.running import Muster, worked
from tests.servers import NatsServer

TELLER = '''\
"""A plain role that streams."""

from workers import SyncContext, role


@role("teller", listens="tell.#", attempts=2, backoff=0.01, never_retry=KeyError)
def tell(text: str, ctx: SyncContext) -> int:
    for word in text.split():
        ctx.stream(word)
    ctx.stream({"attempt": ctx.attempt})
    if "again" in text and ctx.attempt == 1:
        raise ValueError("once more")
    return len(text.split())
'''


@pytest.fixture(scope="module")
def fleet(nats_server: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Muster]:
    """A folder with the role above, and a worker for it."""
    folder = tmp_path_factory.mktemp("roles")
    with worked(nats_server.url, folder, "teller", TELLER) as muster:
        yield muster


@pytest.mark.nats
def test_parts_are_shown_while_it_runs_and_the_result_stands_alone(fleet: Muster) -> None:
    ended = fleet("publish", "tell.x", '"one two"', "--wait", "--timeout", "20s")
    assert (ended.code, ended.out) == (0, "2\n")
    parts = [line for line in ended.err.splitlines() if line.startswith("part")]
    assert parts == ["part 1: one", "part 2: two", 'part 3: {"attempt": 1}']


@pytest.mark.nats
def test_a_retry_is_told(fleet: Muster) -> None:
    """What stands after it is what the run that ended has streamed."""
    ended = fleet("publish", "tell.x", '"again"', "--wait", "--timeout", "20s")
    assert ended.code == 0
    assert ended.err.splitlines()[-2:] == ["part 1: again", 'part 2: {"attempt": 2}']


@pytest.mark.nats
def test_the_configuration_shows_how_each_role_is_run(fleet: Muster) -> None:
    fleet.write("muster.toml", "[roles.teller]\ntimeout = 7\nbackoff_jitter = 0\n")
    said = fleet("config", "--json").json
    (teller,) = (policy for policy in said["policies"] if policy["role"] == "teller")
    assert (teller["attempts"], teller["timeout"], teller["backoff_jitter"]) == (2, 7.0, 0.0)
    assert (teller["delivery"], teller["never_retry"]) == ("at-least-once", ["KeyError"])
    assert teller["origins"] == ["muster.toml", "teller.py:6"]
    shown = fleet("config").out
    assert "0.01 s · 2^n, at most 300 s, jitter 0" in shown
    (fleet.folder / "muster.toml").unlink()


@pytest.mark.parametrize(
    ("options", "handler", "says"),
    [
        ("attemps=3", "async def f(x, ctx): ...", "there is no option 'attemps'; did you mean"),
        ("", "def f(x, ctx: Context): ...", "annotate its ctx as SyncContext"),
        ("", "async def f(x, ctx, db): ...", "db is no resource, see @resource"),
        ("delivery='once', attempts=2", "async def f(x, ctx): ...", "started at most once"),
    ],
)
def test_wrong_use_is_told_at_import(muster: Muster, options: str, handler: str, says: str) -> None:
    source = f"from workers import Context, role\n\n@role('wrong', {options})\n{handler}\n"
    muster.write("agents/wrong.py", source)
    ended = muster("work", "wrong")
    assert ended.code == 2
    assert says in ended.lines[1]
    assert "wrong.py:" in ended.lines[1]
    config = muster("config", "--json")
    assert (config.code, config.json["policies"]) == (0, [])
    assert says in config.json["roles_error"]["details"]


def test_a_setting_that_a_role_cannot_have_is_told(muster: Muster) -> None:
    source = (
        "from workers import role\n\n@role('payer', delivery='once')\nasync def f(x, ctx): ...\n"
    )
    muster.write("agents/payer.py", source)
    muster.write("muster.toml", "[roles.payer]\nattempts = 3\n")
    ended = muster("work", "payer")
    assert (ended.code, "started at most once" in ended.lines[1]) == (2, True)


@pytest.mark.nats
def test_a_resource_that_cannot_be_opened_ends_the_worker(
    nats_server: NatsServer, muster: Muster
) -> None:
    muster.write(
        "agents/needy.py",
        """from collections.abc import Iterator
from typing import Annotated

from workers import Context, resource, role


@resource
def database() -> Iterator[int]:
    raise ConnectionError("nobody answers at db:5432")
    yield 1


@role("needy")
async def needy(x: int, ctx: Context, db: Annotated[int, database]) -> int:
    return db
""",
    )
    ended = muster("work", "needy", "--bus", nats_server.url)
    assert ended.code == 3
    what, why, _ = ended.lines
    assert what == "resource 'database' cannot be opened"
    assert "needy.py:7: ConnectionError: nobody answers at db:5432" in why
