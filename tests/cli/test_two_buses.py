"""What the command shows of a fleet with two buses, and what such a fleet needs."""

import re
import secrets
from pathlib import Path

import pytest

from tests.cli.running import Muster
from tests.pairs import Pair


def test_doctor_and_ps_show_which_bus_is_in_use_and_for_how_long(
    pair: Pair, tmp_path: Path
) -> None:
    name = f"two-{secrets.token_hex(4)}"
    muster = Muster(tmp_path, MUSTER_BUS_URL=pair.url, MUSTER_FLEET_NAME=name)
    bus = _bus(muster)
    assert bus["state"] == "ok"
    first = re.sub(r"//.*@", "//", pair.url)
    assert first in bus["said"]
    assert pair.url == first or pair.url not in bus["said"], "a password"
    assert muster("ps", "--json").json["bus"] == {"fallback": True, "first_away": None}
    pair.first.kill()
    bus = _bus(muster)
    assert bus["state"] == "warn"
    assert f"{pair.fallback} is in use" in bus["said"]
    assert re.search(rf"the fallback for \d+s; {re.escape(first)} is away", bus["said"])
    assert isinstance(muster("ps", "--json").json["bus"]["first_away"], float)
    assert "the first bus is away" in muster("ps").err
    pair.first.start()
    assert muster("ps", "--json").json["bus"]["first_away"] is None
    assert _bus(muster)["state"] == "ok"


@pytest.mark.promise(1)
def test_doctor_asks_of_both_whether_they_sync(pair: Pair, tmp_path: Path) -> None:
    """1: NATS tells no client. The one in use is asked by its monitoring, the other is named."""
    name = f"two-{secrets.token_hex(4)}"
    muster = Muster(tmp_path, MUSTER_BUS_URL=pair.url, MUSTER_FLEET_NAME=name)
    checks = {check["what"]: check for check in muster("doctor", "--json").json["checks"]}
    nats = [url.startswith("nats://") for url in (pair.url, pair.fallback)]
    assert ["sync" in checks, "sync beside" in checks] == nats
    if nats[1]:
        assert pair.fallback in checks["sync beside"]["said"]
        assert checks["sync beside"]["state"] == "note"


def _bus(muster: Muster) -> dict[str, str]:
    checks = muster("doctor", "--json").json["checks"]
    found: dict[str, str] = next(check for check in checks if check["what"] == "bus")
    return found


def test_two_buses_without_a_database_are_refused(tmp_path: Path) -> None:
    """Nothing is connected: which setting is missing is said first."""
    muster = Muster(
        tmp_path,
        MUSTER_BUS_URL="nats://127.0.0.1:1",
        MUSTER_BUS_FALLBACK="nats://127.0.0.1:2",
    )
    ended = muster("ps")
    assert ended.code != 0
    assert "needs the bus database" in ended.err


@pytest.mark.parametrize(
    ("fallback", "said"),
    [("kafak://h:1", "in bus.fallback"), ("amqp://h:2", "the same database")],
)
def test_a_fallback_that_cannot_be_one_is_refused(tmp_path: Path, fallback: str, said: str) -> None:
    """A scheme nobody knows; a second bus that leans on the database of the first."""
    muster = Muster(tmp_path, MUSTER_BUS_URL="amqp://h:1", MUSTER_BUS_FALLBACK=fallback)
    ended = muster("ps")
    assert ended.code != 0
    assert said in ended.err
