"""A program that knows aiokafka and docs/brokers/kafka.md, and nothing of muster.

Arguments: the broker's URL, the fleet, the topic, a Kafka topic of its own where a bridge puts
events, how many tasks, the bus database. Prints the events.
"""

import asyncio
import json
import sys
import uuid
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

SECONDS = 40

_OUTCOME = """SELECT value FROM muster_bus.entries JOIN muster_bus.fleets ON fleet = id
WHERE name = $1 AND key = $2"""


async def main(url: str, fleet: str, topic: str, place: str, count: str, database: str) -> None:
    """Publish tasks, each twice, then wait for the event of each, and read its outcome."""
    reply = str(uuid.uuid4())
    servers = url.removeprefix("kafka://")
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all")
    await producer.start()
    tasks = {str(uuid.uuid4()): number for number in range(int(count))}
    for task, number in [*tasks.items(), *tasks.items()]:
        attributes = {"ce_id": task, "ce_type": topic, "ce_source": "/shop/plain"}
        named = {**attributes, "muster-reply": reply}
        headers = [(name, value.encode()) for name, value in named.items()]
        payload = json.dumps({"name": f"number {number}"}).encode()
        await producer.send_and_wait(f"muster.{fleet}.in", payload, headers=headers)
    await producer.stop()

    reader = AIOKafkaConsumer(place, bootstrap_servers=servers, auto_offset_reset="earliest")
    await reader.start()
    events: dict[str, Any] = {}
    async with asyncio.timeout(SECONDS):
        while events.keys() < tasks.keys():
            record = await reader.getone()
            said = {name: value.decode() for name, value in record.headers}
            ended = {"type": said["ce_type"], "data": json.loads(record.value)}
            events[said["ce_subject"]] = ended
    await reader.stop()
    connection = await asyncpg.connect(database)
    for task, event in events.items():
        kept = await connection.fetchval(_OUTCOME, fleet, f"outcome/{reply}/{task}")
        assert json.loads(kept)["value"] == event["data"]
    await connection.close()
    print(json.dumps(list(events.values())))


asyncio.run(main(*sys.argv[1:]))
