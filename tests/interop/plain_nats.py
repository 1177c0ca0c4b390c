"""A program that knows nats-py and docs/brokers/nats.md, and nothing of muster.

Arguments: the server's URL, the fleet, the topic, a stream of its own and a subject of it where a
bridge puts events, a payload. Prints the outcome, and the event's type and data.
"""

import asyncio
import json
import sys
import uuid
from datetime import UTC, datetime

import nats
from nats.aio.msg import Msg
from nats.js import JetStreamContext

SECONDS = 20


async def main(url: str, fleet: str, topic: str, stream: str, subject: str, payload: str) -> None:
    """Publish a task twice, wait for its end, and hear of it."""
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
    target = f"muster.{fleet}.t.normal.0.{topic}"
    first = await js.publish(target, payload.encode(), headers=headers)
    again = await js.publish(target, payload.encode(), headers=headers)
    assert first.stream == f"MUSTER_{fleet}_TASKS"
    assert again.duplicate  # known by its Nats-Msg-Id

    async with asyncio.timeout(SECONDS):
        outcome = await end_of(js, f"MUSTER_{fleet}", f"outcome.{reply}.{task}")
        event = await event_of(js, stream, subject, task)
    said = {"type": (event.headers or {})["ce-type"], "data": json.loads(event.data)}
    print(json.dumps({"outcome": outcome, "event": said}))
    await client.close()


async def end_of(js: JetStreamContext, bucket: str, key: str) -> object:
    """The outcome, once it is there."""
    watcher = await (await js.key_value(bucket)).watch(key)
    async for entry in watcher:
        if entry is not None and entry.value:
            return json.loads(entry.value)
    raise RuntimeError("the bucket is gone")


async def event_of(js: JetStreamContext, stream: str, subject: str, task: str) -> Msg:
    """The event about this task, once it is there."""
    reader = await js.subscribe(subject, stream=stream, ordered_consumer=True)
    while True:
        event: Msg = await reader.next_msg(SECONDS)
        if (event.headers or {})["ce-subject"] == task:
            return event


asyncio.run(main(*sys.argv[1:]))
