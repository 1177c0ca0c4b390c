"""Credentials, permissions and TLS on a real Redis; every refusal is one clear error, soon."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bus.errors import AccessDenied, Unreachable
from bus.keyvalue.protocol import Current, Snapshot
from bus.keyvalue.redis import RedisKeyValue
from deploy import ports
from tests.bus.backends.redis_fleet import LANES, linked, messages, opened, terms
from tests.certificates import issued
from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis

ALLOWED = "resetkeys ~{muster:*}* &*"
"""A pattern of channels can be subscribed to only by who may hear all of them."""
COMMANDS = (
    "-@all +evalsha +eval +blpop +ping +get +set +hvals +time +info +client|setname +client|id"
    " +client|unblock +psubscribe +subscribe +xreadgroup +xrange +xlen"
)
IN_SCRIPTS = (
    "+incr +incrby +hset +hget +hmget +hdel +hexists +hgetall +hstrlen +hincrby +lpush +rpush +lpop"
    " +llen +exists +del +unlink +sadd +smembers +zadd +zrem +zscore +zmscore +zrange"
    " +zrangebyscore +zrangebylex +zcard +zcount +publish +xgroup|create +xautoclaim +xadd +xack"
    " +xdel"
)


def address(server: RedisServer, who: str) -> str:
    """The server's url with these credentials."""
    return server.url.replace("://", f"://{who}@")


@pytest.fixture
def guarded(own_redis: Callable[..., RedisServer]) -> RedisServer:
    """A server with a password, and a user that may do just what a fleet needs."""
    return own_redis("requirepass secret", f"user ada on >word {ALLOWED} {COMMANDS} {IN_SCRIPTS}")


@pytest.mark.parametrize("who", ["", ":wrong", "ada:wrong", "nobody:secret"])
async def test_wrong_credentials_are_refused_at_once(guarded: RedisServer, who: str) -> None:
    url = address(guarded, who) if who else guarded.url
    started = time.monotonic()
    with pytest.raises(AccessDenied) as caught:
        async with linked(terms(url)):
            pass
    assert time.monotonic() - started < 1.0
    what, why, do = caught.value.lines()
    assert "refused the credentials" in what
    assert why.startswith(("NOAUTH", "WRONGPASS"))
    assert "bus" in do
    assert "secret" not in str(caught.value)
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("who", [":secret", "default:secret", "ada:word"])
async def test_right_credentials_carry_tasks(guarded: RedisServer, who: str) -> None:
    """Also those of a user that may do no more than the documentation names."""
    async with opened(terms(address(guarded, who))) as (link, backend):
        await backend.bind("g", ["work.#"])
        await backend.publish(messages(3))
        held = await backend.pull("g", LANES, limit=3, wait=1)
        assert len(held) == 3
        assert await backend.extend(held) == []
        assert await backend.settle(held, then=messages(1, "then")) == []
        assert await backend.pull("g", LANES[:1], limit=3, wait=0.1) == []
        store = RedisKeyValue(link)
        await store.put("a/1", b"x", ttl=60)
        changes = store.follow("a/", every=0.2)
        assert isinstance(await anext(changes), Snapshot)
        assert isinstance(await anext(changes), Current)
        await changes.aclose()  # type: ignore[attr-defined]
        assert await store.delete("a/1")
        fields = ("ce-type", "work.a", "muster-priority", "high")
        await link.ask("XADD", f"{link.prefix}:in", "*", *fields, doing="putting in")
        assert len(await backend.pull("g", LANES[:1], limit=3, wait=2)) == 1
        await backend.unbind("g", drop=True)


async def test_a_user_without_the_keys_of_the_fleet_is_told_so(guarded: RedisServer) -> None:
    async with linked(terms(address(guarded, ":secret"))) as link:
        rules = ("on", ">word", "~other:*", "+@all")
        await link.ask("ACL", "SETUSER", "bob", *rules, doing="making a user")
    with pytest.raises(AccessDenied) as caught:
        async with linked(terms(address(guarded, "bob:word"))):
            pass
    assert "docs/brokers/redis.md" in caught.value.actions[1]


async def test_nobody_there_is_said_soon() -> None:
    started = time.monotonic()
    with pytest.raises(Unreachable) as caught:
        async with linked(terms(f"redis://ada:secret@127.0.0.1:{ports.free()}")):
            pass
    assert time.monotonic() - started < 5.5
    assert "secret" not in str(caught.value)


def test_an_extra_that_is_not_installed_is_named() -> None:
    program = (
        "import asyncio, sys\n"
        "sys.modules['hiredis'] = None\n"
        "from bus.backends.choice import open_parts\n"
        "from bus.opening import Terms\n"
        "from contracts.clock import SystemClock\n"
        "from contracts.errors import MusterError\n"
        "try:\n"
        "    asyncio.run(open_parts(Terms(url='redis://x', fleet='t', clock=SystemClock())))\n"
        "except MusterError as error:\n"
        "    print(*error.lines(), sep='\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[2] == "pip install 'muster[redis]'"


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[RedisServer, Path]]:
    """A server that speaks TLS only and wants a password, and the file of its authority."""
    files = issued(tmp_path)
    more = [
        f'tls-cert-file "{files.chain}"',
        f'tls-key-file "{files.key}"',
        "tls-auth-clients no",
        "requirepass secret",
    ]
    server = RedisServer(tmp_path / "redis", more=more, tls=True)
    server.start()
    yield server, files.authority
    server.stop()


async def test_a_trusted_server_carries_tasks(
    secured: tuple[RedisServer, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, authority = secured
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    async with opened(terms(address(server, ":secret"))) as (_, backend):
        await backend.bind("g", ["work.#"])
        await backend.publish(messages(2, body=bytes(900 * 1024)))
        held = await backend.pull("g", LANES, limit=2, wait=1)
        assert len(held) == 2
        assert await backend.settle(held) == []


async def test_a_certificate_nobody_trusts_is_named_soon(
    secured: tuple[RedisServer, Path],
) -> None:
    with pytest.raises(Unreachable) as caught:
        async with linked(terms(address(secured[0], ":secret"))):
            pass
    assert "certificate" in caught.value.message
    assert "secret" not in str(caught.value)
    assert "SSL_CERT_FILE" in caught.value.actions[0]


async def test_a_wrong_password_over_tls_is_refused_at_once(
    secured: tuple[RedisServer, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, authority = secured
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with pytest.raises(AccessDenied):
        async with linked(terms(address(server, ":wrong"))):
            pass


async def test_a_server_that_wants_tls_is_not_spoken_to_without(
    secured: tuple[RedisServer, Path],
) -> None:
    """It says so, soon."""
    url = address(secured[0], ":secret").replace("rediss://", "redis://")
    with pytest.raises(Unreachable) as caught:
        async with linked(terms(url)):
            pass
    assert "rediss://" in caught.value.lines()[2]
