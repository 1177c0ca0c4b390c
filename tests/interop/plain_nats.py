"""A program that knows nats-py and docs/brokers/nats.md, and nothing of muster.

Arguments: the server's URL, the fleet, the topic, a payload. Prints the outcome.
"""

import asyncio
import json
import sys
import uuid
from datetime import UTC, datetime

import nats


async def main(url: str, fleet: str, topic: str, payload: str) -> None:
    """Publish a task and wait for its end."""
    client = await nats.connect(url)
    js = client.jetstream()
    task = reply = str(uuid.uuid4())
    headers = {
        "ce-specversion": "1.0",
        "ce-id": task,
        "ce-source": "/shop/plain",
        "ce-type": topic,
        "ce-time": datetime.now(UTC).isoformat(),
        "content-type": "application/json",
        "muster-reply": reply,
        "Nats-Msg-Id": f"{task}/*/0",
    }
    subject = f"muster.{fleet}.t.normal.0.{topic}"
    first = await js.publish(subject, payload.encode(), headers=headers)
    again = await js.publish(subject, payload.encode(), headers=headers)
    assert first.stream == f"MUSTER_{fleet}_TASKS"
    assert again.duplicate  # known by its Nats-Msg-Id

    bucket = await js.key_value(f"MUSTER_{fleet}")
    watcher = await bucket.watch(f"outcome.{reply}.{task}")
    async with asyncio.timeout(20):
        async for entry in watcher:
            if entry is not None and entry.value:
                print(json.dumps(json.loads(entry.value)))
                break
    await client.close()


asyncio.run(main(*sys.argv[1:]))
