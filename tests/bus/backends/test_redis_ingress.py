"""What programs put into the ingress of a fleet on Redis that know no groups."""

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from bus.backend import HIGH, RETRY, Delivery
from bus.backends.redis.backend import RedisBackend
from bus.backends.redis.entries import entries_of
from bus.backends.redis.examine import examine
from tests.bus.backends.redis_fleet import LANES, drained, linked, opened, terms
from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis

SECONDS = 10.0


class Outside:
    """A plain client of a fleet's inlet."""

    def __init__(self, url: str) -> None:
        self.fleet = f"t{uuid.uuid4().hex[:12]}"
        self.url = url
        self.client: Any = Redis.from_url(url)
        self.inlet = f"{{muster:{self.fleet}}}:in"

    async def put(self, id_: str, topic: str = "work.a", body: str = "{}", **more: str) -> None:
        """One task in binary mode."""
        fields = {"ce-id": id_, "ce-type": topic, "data": body}
        named = {name.replace("_", "-"): value for name, value in more.items()}
        await self.client.xadd(self.inlet, {**fields, **named})

    async def lies(self, inlet: int, parked: int) -> None:
        """Wait until so many are there."""
        wanted, found = (inlet, parked), (-1, -1)
        async with asyncio.timeout(SECONDS):
            while found != wanted:
                found = (
                    await self.client.xlen(self.inlet),
                    await self.client.xlen(f"{self.inlet}:parked"),
                )
                await asyncio.sleep(0.01)


@pytest.fixture
async def outside(redis_server: RedisServer) -> AsyncIterator[Outside]:
    """Of a fleet of this test."""
    made = Outside(redis_server.url)
    yield made
    await made.client.aclose()


async def got(backend: RedisBackend, count: int, group: str = "g") -> list[Delivery]:
    """So many, settled, and no more."""
    found: list[Delivery] = []
    async with asyncio.timeout(SECONDS):
        while len(found) < count:
            found += await drained(backend, group=group, wait=0.2)
    found += await drained(backend, group=group, wait=0.1)
    assert len(found) == count
    return found


async def test_a_task_is_routed_to_every_group_that_wants_it(outside: Outside) -> None:
    """In binary mode, in structured mode, and as FastStream wraps it; by priority and tenant."""
    event = {"specversion": "1.0", "id": "b", "source": "/shop", "type": "work.b", "data": {"n": 1}}
    event |= {"mustertenant": "acme", "musterpriority": "high", "time": "2026-01-01T00:00:00Z"}
    structured = {"content-type": "application/cloudevents+json", "data": json.dumps(event)}
    async with opened(terms(outside.url, fleet=outside.fleet)) as (_, backend):
        await backend.bind("g", ["work.#"])
        await backend.bind("h", ["work.a"])
        await outside.put("a", ce_source="/shop", muster_reply="me")
        await outside.client.xadd(outside.inlet, structured)
        found = {each.message.id: each.message for each in await got(backend, 2)}
        assert (found["a"].topic, found["a"].body) == ("work.a", b"{}")
        assert found["a"].headers["muster-reply"] == "me"
        assert (found["b"].topic, json.loads(found["b"].body)) == ("work.b", {"n": 1})
        assert (found["b"].lane.name, found["b"].headers["muster-tenant"]) == (HIGH.name, "acme")
        (only,) = await got(backend, 1, "h")
        assert only.message.id == "a"
        await outside.lies(0, 0)


async def test_what_names_no_id_and_no_source_is_given_both(outside: Outside) -> None:
    async with opened(terms(outside.url, fleet=outside.fleet)) as (_, backend):
        await backend.bind("g", ["work.#"])
        name = await outside.client.xadd(outside.inlet, {"ce-type": "work.a", "data": "{}"})
        (found,) = await got(backend, 1)
        assert found.message.id == f"in-{name.decode()}"
        assert found.message.headers["ce-source"] == "/muster/in"


async def test_one_id_is_one_task_however_often_it_is_put_in(outside: Outside) -> None:
    async with opened(terms(outside.url, fleet=outside.fleet)) as (_, backend):
        await backend.bind("g", ["work.#"])
        for id_ in ("a", "a", "b", "a"):
            await outside.put(id_)
        assert {each.message.id for each in await got(backend, 2)} == {"a", "b"}


async def test_what_nobody_wants_is_parked_until_somebody_does(outside: Outside) -> None:
    """Without a group at all, and beside others; what is no task stays for who looks."""
    with_ = terms(outside.url, fleet=outside.fleet)
    await outside.put("early", "work.a")
    async with opened(with_) as (_, backend):
        await backend.bind("g", ["other.#"])
        await backend.pull("g", LANES, limit=1, wait=0.1)
        await outside.put("late", "work.b")
        await outside.put("odd", "no topic!")
        await outside.put("ours", "muster.events")
        await outside.put("other", "other.x")
        assert [each.message.id for each in await got(backend, 1)] == ["other"]
        await outside.lies(0, 4)
    async with opened(with_) as (_, backend):
        await backend.bind("h", ["work.#"])
        assert {each.message.id for each in await got(backend, 2, "h")} == {"early", "late"}
        await outside.lies(0, 2)
    async with linked(with_) as link:
        (danger,) = [each for each in (await examine(link)).dangers or () if each.promise == 19]
        assert danger.said.startswith("2 tasks that others put in are parked: is not a topic: ")


async def test_a_group_bound_later_is_found_by_who_pulls_already(outside: Outside) -> None:
    with_ = terms(outside.url, fleet=outside.fleet, lease=1.0)
    async with opened(with_) as (_, backend), opened(with_) as (_, other):
        await backend.bind("g", ["other.#"])
        await backend.pull("g", LANES, limit=1, wait=0.1)
        await outside.put("a")
        await outside.lies(0, 1)
        await other.bind("h", ["work.#"])
        await outside.lies(0, 0)
        assert [each.message.id for each in await got(other, 1, "h")] == ["a"]


async def test_what_a_killed_reader_had_read_is_routed_once(outside: Outside) -> None:
    """It was read and not routed, or routed and not heard of: both come again, one counts."""
    with_ = terms(outside.url, fleet=outside.fleet, lease=0.5)
    for number in range(200):
        await outside.put(str(number))
    await outside.client.xgroup_create(outside.inlet, "muster", id="0")
    streams = {outside.inlet: ">"}
    read = await outside.client.xreadgroup("muster", "fleet", streams, count=100)
    assert len(read[0][1]) == 100
    async with opened(with_) as (_, backend), opened(with_) as (_, other):
        await backend.bind("g", ["work.#"])
        await other.pull("g", (RETRY,), limit=1, wait=0.1)
        found = await got(backend, 200)
        assert {each.message.id for each in found} == {str(number) for number in range(200)}
        await outside.lies(0, 0)


_READER = """
import asyncio, sys
from bus.backend import RETRY
from tests.bus.backends.redis_fleet import opened, terms

async def main(url, fleet):
    async with opened(terms(url, fleet=fleet, lease=0.5)) as (_, backend):
        await backend.pull("g", (RETRY,), limit=1, wait=60)

asyncio.run(main(*sys.argv[1:]))
"""
"""A process that routes and takes nothing."""


async def test_processes_that_are_killed_while_they_route_lose_and_double_nothing(
    outside: Outside, happened: Callable[[str], None]
) -> None:
    """One after another, each in the middle of it."""
    count, killed = 6_000, 0
    async with opened(terms(outside.url, fleet=outside.fleet, lease=0.5)) as (_, backend):
        await backend.bind("g", ["work.#"])
        async with outside.client.pipeline(transaction=False) as pipe:
            for number in range(count):
                fields = {"ce-type": "work.a", "ce-id": str(number), "data": "x" * 500}
                pipe.xadd(outside.inlet, fields)
            await pipe.execute()
        for part in (5_000, 3_500, 2_000):
            arguments = ("-c", _READER, outside.url, outside.fleet)
            process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
            async with asyncio.timeout(SECONDS):
                while await outside.client.xlen(outside.inlet) > part:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            process.kill()
            await process.wait()
            killed += (await outside.client.xlen(outside.inlet)) > 0
        left = await outside.client.xlen(outside.inlet)
        found = [each.message.id for each in await got(backend, count)]
        assert sorted(found) == sorted(map(str, range(count)))
        await outside.lies(0, 0)
    happened(f"{killed} readers killed while they routed, {left:,} of {count:,} left by the last")
    assert killed


async def test_many_readers_route_each_entry_once(outside: Outside) -> None:
    with_ = terms(outside.url, fleet=outside.fleet, lease=0.2)
    async with opened(with_) as (_, one), opened(with_) as (_, two), opened(with_) as (_, three):
        await one.bind("g", ["work.#"])
        for backend in (one, two, three):
            await backend.pull("g", (RETRY,), limit=1, wait=0)
        async with outside.client.pipeline(transaction=False) as pipe:
            for number in range(3_000):
                fields = {"ce-type": "work.a", "data": str(number)}
                pipe.xadd(outside.inlet, fields)
            await pipe.execute()
        found = [each.message.body for each in await got(one, 3_000)]
        assert sorted(found) == sorted(str(number).encode() for number in range(3_000))
        await outside.lies(0, 0)


async def test_what_was_put_in_survives_a_broker_that_is_killed(
    own_redis: Callable[..., RedisServer],
) -> None:
    server = own_redis()
    outside = Outside(server.url)
    async with opened(terms(server.url, fleet=outside.fleet)) as (_, backend):
        await backend.bind("g", ["work.#"])
        await backend.pull("g", LANES, limit=1, wait=0.1)
        server.kill()
        server.start()
        await outside.put("a")
        assert [each.message.id for each in await got(backend, 1)] == ["a"]
    await outside.client.aclose()


async def test_a_full_fleet_leaves_it_where_it_is(outside: Outside) -> None:
    with_ = terms(outside.url, fleet=outside.fleet)
    async with linked(with_) as link:
        await link.ask("SET", f"{link.prefix}:limit", 30_000, doing="setting the limit")
    async with opened(with_) as (_, backend):
        await backend.bind("g", ["work.#"])
        for number in range(40):
            await outside.put(str(number), body=json.dumps("x" * 1000))
        found = await got(backend, 40)
        assert len({each.message.id for each in found}) == 40


async def test_who_may_not_read_it_works_without(own_redis: Callable[..., RedisServer]) -> None:
    """A user with the permissions of before there was an ingress."""
    server = own_redis(
        "requirepass secret", "user ada on >word ~* &* +@all -xreadgroup -xautoclaim"
    )
    url = server.url.replace("://", "://ada:word@")
    async with opened(terms(url)) as (_, backend):
        await backend.bind("g", ["work.#"])
        assert await backend.pull("g", LANES, limit=1, wait=0.2) == []


def test_entries_are_read_however_they_are_cut() -> None:
    """What begins as FastStream's format and is not is a body that no role takes."""
    for raw in (
        b"",
        b"{}",
        b"\x89BIN\r\n\x1a\n\x00\x01",
        b"\x89BIN\r\n\x1a\n\x00\x01" + b"\xff" * 20,
    ):
        (entry,) = entries_of([[b"1-0", [b"__data__", raw]]])
        assert (entry.body, entry.headers) == (raw, {})
    assert entries_of([[b"1-0", None]]) == []
