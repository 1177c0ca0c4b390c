"""`up` and `down` with an embedded broker that is named: no other command has to name it again."""

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.brokers import BROKERS
from deploy.errors import ServerMissing
from tests import brokers
from tests.cli.running import GREETER, Muster
from tests.clusters import lay
from tests.servers import missing

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@pytest.fixture
def folder(free_folder: Path) -> Iterator[Muster]:
    """A folder with one role that keeps no history, in which nothing runs afterwards."""
    muster = Muster(free_folder, MUSTER_FLEET_DRAIN="2")
    muster.write("agents/greeter.py", GREETER)
    lay(free_folder / ".muster")
    yield muster
    assert muster("down").code == 0


@pytest.mark.parametrize("name", brokers.ALONE)
def test_up_work_down_with_a_broker_that_is_named(folder: Muster, name: str) -> None:
    program = BROKERS[name]
    try:
        program.locate()
    except ServerMissing as error:
        missing(name, str(error))
    up = folder("up", "greeter", "--detach", "--json", "--bus", name, timeout=90.0)
    assert up.code == 0, up.err
    assert up.json["bus"].startswith(f"{program.scheme}://")
    ended = folder("publish", "greeter.x", '{"name": "Ada"}', "--wait", "--timeout", "30")
    assert ended.code == 0, ended.err
    asked = folder("doctor", "--json")
    found = {check["what"]: check["state"] for check in asked.json["checks"]}
    safe = found["sync" if name == "nats" else "settings"]
    assert (found["bus"], safe, found["room"]) == ("ok", "ok", "ok"), asked.out
    state = folder.folder / ".muster" / program.folder / "server.json"
    pid = json.loads(state.read_text(encoding="utf-8"))["pid"]
    down = folder("down", "--json")
    assert down.code == 0
    ours = {"bus", "greeter", "supervisor"}
    assert set(down.json["ended"]) - {"database"} == ours
    assert not psutil.pid_exists(pid)
    assert folder("down").out == "nothing runs here\n"
