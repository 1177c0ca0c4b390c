"""A program that knows aio-pika and docs/brokers/rabbitmq.md, and nothing of muster.

Arguments: the broker's URL, the fleet, the topic, a queue of its own where a bridge puts events,
how many tasks. Prints the events.
"""

import asyncio
import json
import secrets
import sys
import time
import uuid
from datetime import UTC, datetime

import aio_pika

SECONDS = 30


def message(task: str, topic: str, number: int) -> aio_pika.Message:
    """A task; each time it is made it is another transmission of the same."""
    nonce = secrets.randbits(62)
    headers = {
        "ce-specversion": "1.0",
        "ce-id": task,
        "ce-source": "/shop/plain",
        "ce-type": topic,
        "ce-time": datetime.now(UTC).isoformat(),
        "content-type": "application/json",
        "muster.id": task,
        "muster.nonce": str(nonce),
        "muster.sent": f"{time.time():.3f}",
    }
    return aio_pika.Message(
        json.dumps({"name": f"number {number}"}).encode(),
        headers=dict(headers),
        message_id=f"{nonce:x}",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )


async def main(url: str, fleet: str, topic: str, place: str, count: str) -> None:
    """Publish tasks, each twice, then wait for the event of each."""
    tasks = {str(uuid.uuid4()): number for number in range(int(count))}
    events: dict[str, object] = {}
    async with await aio_pika.connect(url) as connection, asyncio.timeout(SECONDS):
        channel = await connection.channel(publisher_confirms=True)
        exchange = await channel.get_exchange(f"muster.{fleet}")
        for task, number in [*tasks.items(), *tasks.items()]:
            key = f"normal.0.{topic}"
            await exchange.publish(message(task, topic, number), routing_key=key, mandatory=True)
        queue = await channel.get_queue(place)
        async with queue.iterator() as found:
            async for each in found:
                await each.ack()
                task = str(each.headers["cloudEvents_subject"])
                kind = str(each.headers["cloudEvents_type"])
                events[task] = {"type": kind, "data": json.loads(each.body)}
                if events.keys() >= tasks.keys():
                    break
    print(json.dumps(list(events.values())))


asyncio.run(main(*sys.argv[1:]))
