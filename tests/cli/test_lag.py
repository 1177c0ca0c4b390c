"""Groups whose workers are gone, as `muster lag` and `muster doctor` show them."""

import asyncio
import secrets
import time
from pathlib import Path

import pytest

from bus.keyvalue import keys
from tests.cli.running import Muster
from tests.servers import NatsServer
from workers.settings import load
from workers.wiring import open_bus

pytestmark = pytest.mark.nats

HOUR = 3600.0


@pytest.fixture
def muster(nats_server: NatsServer, tmp_path: Path) -> Muster:
    """The command on a bus of its own fleet, where nobody works."""
    name = f"lag-{secrets.token_hex(4)}"
    return Muster(tmp_path, MUSTER_BUS_URL=nats_server.url, MUSTER_FLEET_NAME=name)


def leave(muster: Muster, **hours: float) -> None:
    """Groups with one task each, whose last workers were there so many hours ago."""

    async def leave_all() -> None:
        bus = await open_bus(load(muster.folder, environment=muster.environment))
        for group, ago in hours.items():
            await bus.join(group, [f"{group}.#"])
            await bus.store.put(keys.seen(group), str(time.time() - ago * HOUR).encode())
        await bus.close()

    asyncio.run(leave_all())
    for group in hours:
        assert muster("publish", f"{group}.x", "{}").code == 0


@pytest.mark.promise(22)
def test_a_group_without_a_worker_for_a_day_is_told(muster: Muster) -> None:
    """22: in `lag`, and by `doctor` with an exit code; one that is away for hours is not."""
    leave(muster, away=23.0)
    assert muster("doctor").code == 0
    leave(muster, gone=25.0)
    groups = {group["group"]: group for group in muster("lag", "--json").json["groups"]}
    assert {name: group["deserted"] for name, group in groups.items()} == {
        "away": False,
        "gone": True,
    }
    assert groups["gone"]["waiting"]["normal"] == 1
    assert "no worker for a day" in muster("lag").out
    found = muster("doctor")
    assert found.code == 1
    what, why, do = found.lines
    assert ("no worker for a day" in what, "gone (25h)" in why) == (True, True)
    assert "muster work gone" in do
