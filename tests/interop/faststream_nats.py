"""A FastStream application that knows docs/brokers/nats.md, and nothing of muster.

It publishes tasks and hears of their ends in a stream of its own, where a bridge puts them.
Arguments: the server's URL, the fleet, the topic, its stream, its subject, how many tasks.
"""

import asyncio
import json
import sys
import uuid
from datetime import UTC, datetime

from faststream import FastStream
from faststream.nats import JStream, NatsBroker
from faststream.nats.annotations import NatsMessage


async def main(url: str, fleet: str, topic: str, stream: str, subject: str, count: str) -> None:
    """Publish `count` tasks and wait for the end of each."""
    broker = NatsBroker(url, logger=None)
    app = FastStream(broker, logger=None)
    waiting: set[str] = set()
    ended: dict[str, object] = {}

    @broker.subscriber(subject, stream=JStream(stream, declare=False), durable="shop")
    async def hear(body: dict[str, str], message: NatsMessage) -> None:
        task = message.headers["ce-subject"]
        ended[task] = {"type": message.headers["ce-type"], "data": body}
        if ended.keys() >= waiting:
            app.exit()

    @app.after_startup
    async def publish() -> None:
        for number in range(int(count)):
            task = str(uuid.uuid4())
            waiting.add(task)
            await broker.publish(
                {"name": f"number {number}"},
                f"muster.{fleet}.t.normal.0.{topic}",
                headers={
                    "ce-specversion": "1.0",
                    "ce-id": task,
                    "ce-source": "/shop/faststream",
                    "ce-type": topic,
                    "ce-time": datetime.now(UTC).isoformat(),
                    "content-type": "application/json",
                    "Nats-Msg-Id": f"{task}/*/0",
                },
                stream=f"MUSTER_{fleet}_TASKS",
                timeout=5,
            )

    await app.run()
    print(json.dumps(list(ended.values())))


asyncio.run(main(*sys.argv[1:]))
