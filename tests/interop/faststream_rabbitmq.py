"""A FastStream application that knows docs/brokers/rabbitmq.md, and nothing of muster.

Arguments: the broker's URL, the fleet, the topic, a queue of its own where a bridge puts events,
how many tasks. Prints the events.
"""

import asyncio
import json
import secrets
import sys
import uuid
from typing import Any

from faststream import FastStream
from faststream.rabbit import ExchangeType, RabbitBroker, RabbitExchange, RabbitQueue
from faststream.rabbit.annotations import RabbitMessage


async def main(url: str, fleet: str, topic: str, place: str, count: str) -> None:
    """Publish `count` tasks and wait for the event of each."""
    broker = RabbitBroker(url, logger=None)
    app = FastStream(broker, logger=None)
    exchange = RabbitExchange(f"muster.{fleet}", type=ExchangeType.TOPIC, declare=False)
    waiting: set[str] = set()
    ended: dict[str, object] = {}

    @broker.subscriber(RabbitQueue(place, declare=False))
    async def hear(body: dict[str, str], message: RabbitMessage) -> None:
        task = message.headers["cloudEvents_subject"]
        ended[task] = {"type": message.headers["cloudEvents_type"], "data": body}
        if ended.keys() >= waiting:
            app.exit()

    @app.after_startup
    async def publish() -> None:
        for number in range(int(count)):
            task, nonce = str(uuid.uuid4()), secrets.randbits(62)
            waiting.add(task)
            headers: dict[str, Any] = {
                "ce-specversion": "1.0",
                "ce-id": task,
                "ce-type": topic,
                "ce-source": "/shop/faststream",
                "muster.id": task,
                "muster.nonce": str(nonce),
            }
            await broker.publish(
                {"name": f"number {number}"},
                exchange=exchange,
                routing_key=f"normal.0.{topic}",
                headers=headers,
                message_id=f"{nonce:x}",
                persist=True,
                mandatory=True,
            )

    await app.run()
    print(json.dumps(list(ended.values())))


asyncio.run(main(*sys.argv[1:]))
