"""What a Redis tells of itself, and which of its settings are called dangerous."""

import logging
from collections.abc import Callable

import pytest

from bus.backends.redis.examine import examine
from bus.backends.redis.facts import Facts, dangers_of
from tests.bus.backends.redis_fleet import linked, messages, opened, terms
from tests.redis_server import RedisServer


@pytest.mark.redis
async def test_a_server_set_as_it_should_be_is_in_no_danger(
    own_redis: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    server = own_redis("maxmemory 100mb")
    async with opened(terms(server.url)) as (link, backend):
        await backend.bind("g", ["work.#"])
        await backend.publish(messages(10, body=bytes(100)))
        found = await examine(link)
    assert found.dangers == []
    assert found.program == "redis-server"
    assert found.version.split(".")[0] >= "7"
    assert found.storage == 100 * 1024 * 1024
    assert 1000 < (found.used or 0) < 3000
    assert abs(found.ahead or 0.0) <= found.doubt + 0.01
    assert not caplog.records


@pytest.mark.redis
@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("appendonly no", "appendonly"),
        ("appendfsync everysec", "appendfsync"),
        ("maxmemory-policy allkeys-lru", "maxmemory-policy"),
    ],
)
async def test_a_setting_that_breaks_a_promise_is_said_at_connect_and_when_asked(
    own_redis: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture, line: str, name: str
) -> None:
    server = own_redis("maxmemory 100mb", line)
    with caplog.at_level(logging.WARNING):
        async with linked(terms(server.url)) as link:
            found = await examine(link)
    assert [danger.name for danger in found.dangers or ()] == [name]
    assert [danger.promise for danger in found.dangers or ()] == [1]
    (record,) = caplog.records
    assert record.getMessage().startswith("promise 1: ")


@pytest.mark.redis
async def test_what_may_not_be_seen_is_not_taken_for_safe(
    own_redis: Callable[..., RedisServer],
) -> None:
    server = own_redis("maxmemory 100mb", "user ada on >word ~* &* +@all -config")
    url = server.url.replace("://", "://ada:word@")
    async with linked(terms(url)) as link:
        found = await examine(link)
    (danger,) = found.dangers or ()
    assert "cannot be seen" in danger.said


def test_replicas_and_a_missing_limit_are_told() -> None:
    info = {"aof_enabled": "1", "role": "master", "connected_slaves": "2", "maxmemory": "0"}
    settings = {"appendfsync": "always", "maxmemory-policy": "noeviction"}
    assert [d.name for d in dangers_of(Facts(info, settings))] == ["maxmemory", "replicas"]
    replica = Facts({**info, "role": "slave", "maxmemory": "1"}, settings)
    assert [d.name for d in dangers_of(replica)] == ["replica"]


@pytest.mark.parametrize(("version", "old"), [("6.2.14", True), ("7.0.0", False), ("8.2", False)])
def test_servers_before_seven_are_too_old(version: str, old: bool) -> None:
    assert Facts({"redis_version": version}, None).old is old


def test_another_program_that_speaks_like_it_is_named() -> None:
    info = {"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "8.1.0"}
    facts = Facts(info, None)
    assert (facts.program, facts.version, facts.old) == ("valkey", "8.1.0", False)
