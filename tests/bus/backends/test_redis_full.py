"""A Redis at its `maxmemory`: publishing is refused, everything that drains it works."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from bus.backend import Delivery, Message
from bus.backends.redis.errors import Refused
from bus.backends.redis.link import RedisLink
from bus.errors import Full
from bus.keyvalue.redis import RedisKeyValue
from tests.bus.backends.redis_fleet import LANES, drained, messages, opened, terms
from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis

ROOM = "maxmemory 12mb"
BODY = bytes(8000)


async def fill(link: RedisLink) -> None:
    """As others do who use the same server: until it takes not even little."""
    for size in (50_000, 1000, 10, 10):
        with suppress(Full):
            for number in range(20_000):
                await link.ask("SET", f"other:{size}:{number}", bytes(size), doing="filling")


@pytest.mark.promise(21)
async def test_a_server_short_of_memory_refuses_to_publish_and_drains_to_zero(
    own_redis: Callable[..., RedisServer],
) -> None:
    """21: below its limit already, so that what drains has room; and twice over."""
    server = own_redis(ROOM)
    async with opened(terms(server.url)) as (link, backend):
        await backend.bind("g", ["work.#"])
        for turn in range(2):
            accepted = 0
            refusal = None
            while refusal is None:
                try:
                    await backend.publish(messages(10, f"{turn}-{accepted}-", body=BODY))
                    accepted += 10
                except Full as error:
                    refusal = error
            assert accepted > 200
            assert f"most waits for g: {accepted:,}" in refusal.details
            assert not isinstance(refusal.__cause__, Refused), "the server had to refuse"
            assert len(await drained(backend)) == accepted
            assert await link.ask("HVALS", f"{link.prefix}:used", doing="looking") == [b"0"]


@pytest.mark.promise(21)
async def test_bytes_are_counted_back_for_what_was_ours_and_once(redis_server: RedisServer) -> None:
    """21: of several lines, in which some receipts are not ours any more, in more than one part."""
    async with opened(terms(redis_server.url, lease=60.0)) as (link, backend):
        await backend.bind("g", ["work.#"])
        await backend.bind("other", ["work.#"])
        await backend.publish(messages(1200, body=BODY[:100]))
        await backend.publish([replace(m, lane=LANES[0]) for m in messages(3, "h", body=BODY)])
        for group in ("g", "other"):
            held: list[Delivery] = []
            while len(held) < 1203:
                held += await backend.pull(group, LANES, limit=1000, wait=5)
            again = held[1:1200:7]
            assert await backend.settle(again) == []
            then = [replace(m, group="g") for m in messages(600, f"{group}-", body=BODY[:9])]
            assert await backend.settle(held, then=then) == again
        assert len(await drained(backend)) == 1200
        assert await link.ask("HVALS", f"{link.prefix}:used", doing="looking") == [b"0", b"0"]


@pytest.mark.promise(21)
async def test_at_its_very_limit_work_goes_on(own_redis: Callable[..., RedisServer]) -> None:
    """21: others have filled it; it refuses all writes that do not say that they make room."""
    server = own_redis(ROOM)
    async with opened(terms(server.url)) as (link, backend):
        store = RedisKeyValue(link)
        await backend.bind("g", ["work.#"])
        await backend.publish(messages(100, body=BODY))
        await fill(link)
        with pytest.raises(Full) as caught:
            await backend.publish([Message("x", 0, "work.a", b"")])
        assert "most waits for g: 100" in caught.value.details
        held = await backend.pull("g", LANES, limit=3, wait=1)
        assert await backend.extend(held) == []
        again = Message(held[0].message.id, 1, "work.a", BODY, group="g")
        assert await backend.settle(held[:1], then=[again]) == []
        await store.put("dead/g/x", BODY)
        assert await backend.settle(held[1:]) == []
        assert len(await drained(backend)) == 98
        assert sum(lag.waiting or 0 for lag in (await backend.lag("g")).values()) == 0
        with pytest.raises(Full):
            await backend.publish([Message("y", 0, "work.a", b"")])


@pytest.mark.promise(21)
async def test_the_server_itself_refuses_what_was_not_foreseen(
    own_redis: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """21: between two looks at its memory; the error is the same."""
    server = own_redis(ROOM)
    async with opened(terms(server.url)) as (link, backend):
        await backend.bind("g", ["work.#"])
        await backend.publish(messages(1))
        monkeypatch.setattr("bus.backends.redis.room._EVERY", 60.0)
        await fill(link)
        with pytest.raises(Full) as caught:
            await backend.publish([Message("x", 0, "work.a", b"")])
        assert isinstance(caught.value.__cause__, Refused)
        assert "most waits for g: 1" in caught.value.details
        assert caught.value.retry_after is not None
