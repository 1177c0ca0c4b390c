"""A FastStream application that knows docs/brokers/redis.md, and nothing of muster.

Arguments: the server's URL, the fleet, the topic, a stream of its own where a bridge puts events,
how many tasks. Prints the events.
"""

import asyncio
import json
import logging
import sys
import uuid
from typing import Any

from faststream import FastStream
from faststream.redis import RedisBroker, StreamSub
from faststream.redis.annotations import RedisStreamMessage


async def main(url: str, fleet: str, topic: str, place: str, count: str) -> None:
    """Publish `count` tasks and wait for the event of each."""
    broker = RedisBroker(url, logger=logging.getLogger())
    app = FastStream(broker, logger=None)
    waiting: set[str] = set()
    ended: dict[str, object] = {}

    @broker.subscriber(stream=StreamSub(place, last_id="0"))
    async def hear(body: dict[str, str], message: RedisStreamMessage) -> None:
        fields: Any = message.raw_message["data"]  # FastStream takes `data` for the body
        task = fields[b"ce-subject"].decode()
        ended[task] = {"type": fields[b"ce-type"].decode(), "data": body}
        if ended.keys() >= waiting:
            app.exit()

    @app.after_startup
    async def publish() -> None:
        for number in range(int(count)):
            task = str(uuid.uuid4())
            waiting.add(task)
            attributes = {"ce-id": task, "ce-type": topic, "ce-source": "/shop/faststream"}
            payload = {"name": f"number {number}"}
            await broker.publish(payload, stream=f"{{muster:{fleet}}}:in", headers=attributes)

    await app.run()
    print(json.dumps(list(ended.values())))


asyncio.run(main(*sys.argv[1:]))
