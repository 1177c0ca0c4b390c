"""Bridges to brokers that want a password and speak TLS; every refusal is one error, soon."""

import asyncio
import secrets
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from bus.errors import AccessDenied
from contracts.errors import MusterError
from tests import brokers
from tests.bridge.outside import SECONDS, outside
from tests.bridge.secured import Secured, secured
from tests.bridge.test_each_broker import subjects, taking
from tests.bridge.test_outward import bridge, event
from tests.cli.running import Muster
from tests.kafka_server import SCRAM, KafkaServer
from tests.servers import NatsServer
from workers.bridge.errors import BridgeError
from workers.bridge.foreign import Foreign
from workers.bridge.messages import Arrived
from workers.bridge.places import crossing


@pytest.fixture(scope="module", params=brokers.ALONE)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secured]:
    """One of each kind by turns."""
    beside = partial(request.getfixturevalue, "postgres_server")
    with secured(request.param, tmp_path_factory.mktemp("secured"), beside) as made:
        yield made


@pytest.fixture
def trusted(server: Secured, monkeypatch: pytest.MonkeyPatch) -> Secured:
    """Its authority is one of this process."""
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
    return server


async def leave(_: Arrived) -> bool:
    """What arrives stays outside."""
    return False


async def refusal(url: str, *, inward: bool = True) -> MusterError:
    """What a bridge from this place says, or to it."""
    found = crossing(url, "a.b", "test")
    with pytest.raises(MusterError) as caught:
        await Foreign(found.place, found.group).start(leave if inward else None)
    return caught.value


async def carries(server: Secured) -> None:
    """The test fails unless messages cross both ways."""
    found: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(arrived: Arrived) -> bool:
        found.put_nowait(arrived.body)
        return True

    async with outside(server.url) as shop, outside(server.url) as back:
        source, target = server.beside(shop.place), server.beside(back.place)
        await shop.put(b"1")
        async with taking(crossing(source, "a.b", "test"), take), asyncio.timeout(SECONDS):
            assert await found.get() == b"1"
        async with bridge(target) as (_, bus, _crossing):
            bus.tell(event(1))
            assert subjects(await back.heard(1)) == {"t1"}


async def test_messages_cross_both_ways(trusted: Secured) -> None:
    await carries(trusted)


async def test_a_certificate_nobody_trusts_is_named_soon(
    trusted: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless its authority stands in the address."""
    async with outside(trusted.url) as shop:
        monkeypatch.delenv("SSL_CERT_FILE")
        place = trusted.beside(shop.place)
        error = await refusal(place)
        mark = "&" if "?" in place else "?"
        known = crossing(f"{place}{mark}cafile={trusted.authority}", "a.b", "test")
        async with taking(known, leave):
            pass
    assert isinstance(error, BridgeError)
    assert "certificate" in error.message
    assert "cafile" in error.actions[0]
    assert trusted.password not in " ".join(error.lines())


async def test_a_wrong_password_is_refused_at_once(
    trusted: Secured, nats_server: NatsServer, tmp_path: Path
) -> None:
    """The same both ways; the command ends with one error."""
    door = trusted.door.replace(f":{trusted.password}@", ":wr0ng@")
    for inward in (True, False):
        error = await refusal(f"{door}/orders", inward=inward)
        assert isinstance(error, AccessDenied)
        assert "wr0ng" not in " ".join(error.lines())
    fleet = f"secured-{secrets.token_hex(4)}"
    muster = Muster(tmp_path, MUSTER_BUS_URL=nats_server.url, MUSTER_FLEET_NAME=fleet)
    muster.environment["SSL_CERT_FILE"] = str(trusted.authority)
    ended = muster("bridge", "--from", f"{door}/orders", "--to", "orders.new")
    assert (ended.code, ended.lines[0].partition(":")[0]) == (
        5,
        "the broker outside refuses the login or a permission",
    )
    said = [line for line in ended.err.splitlines() if "eof_received" not in line]  # Python 3.11
    assert len(said) == 3
    assert "wr0ng" not in ended.err


@pytest.mark.kafka
@pytest.mark.parametrize("login", SCRAM)
async def test_a_kafka_may_also_be_shown_that_one_knows_the_password(
    kafka_server: KafkaServer, login: str
) -> None:
    """Without TLS."""
    door = kafka_server.login_url
    server = Secured(kafka_server.url, door, Path(), options=f"?login={login}")
    await carries(server)
    wrong = door.replace(server.password, "wr0ng")
    async with outside(server.url) as shop:
        assert isinstance(await refusal(f"{wrong}/{shop.name}?login={login}"), AccessDenied)
