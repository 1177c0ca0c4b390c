"""A program that knows redis-py and docs/brokers/redis.md, and nothing of muster.

Arguments: the server's URL, the fleet, the topic, a stream of its own where a bridge puts events,
how many tasks. Prints the events and the outcomes.
"""

import asyncio
import json
import sys
import uuid
from typing import Any

from redis.asyncio import Redis

SECONDS = 30


async def main(url: str, fleet: str, topic: str, place: str, count: str) -> None:
    """Publish tasks, each twice, then wait for the event and the outcome of each."""
    client: Any = Redis.from_url(url)
    prefix, reply = f"{{muster:{fleet}}}", str(uuid.uuid4())
    heard = client.pubsub()
    await heard.psubscribe(f"{prefix}:kv:outcome/{reply}/*")
    tasks = {str(uuid.uuid4()): number for number in range(int(count))}
    for task, number in [*tasks.items(), *tasks.items()]:
        fields = {"ce-id": task, "ce-type": topic, "ce-source": "/shop/plain"}
        payload = json.dumps({"name": f"number {number}"})
        await client.xadd(f"{prefix}:in", {**fields, "muster-reply": reply, "data": payload})

    outcomes: dict[str, Any] = {}
    events: dict[str, Any] = {}
    last = b"0"
    async with asyncio.timeout(SECONDS):
        while outcomes.keys() < tasks.keys():
            news = await heard.get_message(ignore_subscribe_messages=True, timeout=SECONDS)
            if news is not None:
                task = news["channel"].decode().rpartition("/")[2]
                kept = await client.hget(f"{prefix}:kv:value", f"outcome/{reply}/{task}")
                outcomes[task] = json.loads(kept)["value"]
        while events.keys() < tasks.keys():
            for _, entries in await client.xread({place: last}, block=SECONDS * 1000):
                for entry, fields in entries:
                    last, task = entry, fields[b"ce-subject"].decode()
                    said = {"type": fields[b"ce-type"].decode()}
                    events[task] = {**said, "data": json.loads(fields[b"data"])}
    await heard.aclose()
    await client.aclose()
    assert all(events[task]["data"] == outcomes[task] for task in tasks)
    print(json.dumps(list(events.values())))


asyncio.run(main(*sys.argv[1:]))
