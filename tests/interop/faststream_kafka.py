"""A FastStream application that knows docs/brokers/kafka.md, and nothing of muster.

Arguments: the broker's URL, the fleet, the topic, a Kafka topic of its own where a bridge puts
events, how many tasks. Prints the events.
"""

import asyncio
import json
import sys
import uuid

from faststream import FastStream
from faststream.kafka import KafkaBroker
from faststream.kafka.annotations import KafkaMessage


async def main(url: str, fleet: str, topic: str, place: str, count: str) -> None:
    """Publish `count` tasks and wait for the event of each."""
    broker = KafkaBroker(url.removeprefix("kafka://"), acks="all", logger=None)
    app = FastStream(broker, logger=None)
    waiting: set[str] = set()
    ended: dict[str, object] = {}

    @broker.subscriber(place, group_id="shop", auto_offset_reset="earliest")
    async def hear(body: dict[str, str], message: KafkaMessage) -> None:
        task = message.headers["ce_subject"]
        ended[task] = {"type": message.headers["ce_type"], "data": body}
        if ended.keys() >= waiting:
            app.exit()

    @app.after_startup
    async def publish() -> None:
        for number in range(int(count)):
            task = str(uuid.uuid4())
            waiting.add(task)
            attributes = {"ce_id": task, "ce_type": topic, "ce_source": "/shop/faststream"}
            payload = {"name": f"number {number}"}
            await broker.publish(payload, topic=f"muster.{fleet}.in", headers=attributes)

    await app.run()
    print(json.dumps(list(ended.values())))


asyncio.run(main(*sys.argv[1:]))
