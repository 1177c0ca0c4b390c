"""What the documentation of the layout says is enough for a program without muster."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

import bus.backends.redis
from bus.backend import Message
from bus.keyvalue.redis import RedisKeyValue
from tests.bus.backends.redis_fleet import LANES, opened, terms
from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis

SCRIPTS = Path(bus.backends.redis.__file__).parent / "scripts"


def commit() -> str:
    """The script as the documentation puts it together."""
    parts = [(SCRIPTS / name).read_text() for name in ("common.lua", "commit.lua")]
    return "".join(["#!lua\n", *parts])


def payload(id_: str) -> bytes:
    """As documented."""
    return json.dumps([id_, 0, "work.a", {"ce-id": id_}, 0.0, None]).encode() + b"\0" + b"body"


async def test_another_program_can_publish_look_and_read_results(
    redis_server: RedisServer,
) -> None:
    fleet = f"t{uuid.uuid4().hex[:12]}"
    prefix = f"{{muster:{fleet}}}"
    client: Any = Redis.from_url(redis_server.url)
    async with opened(terms(redis_server.url, fleet=fleet)) as (link, backend):
        await backend.bind("g", ["work.#"])
        version = await client.get(f"{prefix}:version")
        assert await client.hgetall(f"{prefix}:groups") == {b"g": b"1 1 work.#"}
        sent = payload("a")
        head = (version, len(sent), 0.9, 10_000_000_000, 1, 0, 1)
        arguments = (*head, "g:normal.0", 2, "a/*/0", sent, "a/*/0", sent)
        assert await client.eval(commit(), 1, prefix, *arguments) == []
        stale = (b"1", *arguments[1:])
        assert await client.eval(commit(), 1, prefix, *stale) == -1
        assert await client.llen(f"{prefix}:g:g:normal.0:wait") == 1
        (held,) = await backend.pull("g", LANES, limit=5, wait=1)
        assert held.message == Message("a", 0, "work.a", b"body", {"ce-id": "a"}, LANES[2])
        heard = client.pubsub()
        await heard.subscribe(f"{prefix}:kv:outcome/me/a")
        assert await heard.get_message(timeout=2)
        revision = await RedisKeyValue(link).put("outcome/me/a", b"done\nand well", ttl=60)
        news = await heard.get_message(timeout=2)
        assert news["data"] == b"put %d 60000\ndone\nand well" % revision
        assert await client.hget(f"{prefix}:kv:value", "outcome/me/a") == b"done\nand well"
        assert await backend.settle([held]) == []
        await heard.aclose()
        await client.aclose()
