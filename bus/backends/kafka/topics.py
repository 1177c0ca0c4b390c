"""Making, growing and deleting the topics of groups."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.errors import (
    InvalidPartitionsError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)
from aiokafka.protocol.admin import (
    ApiVersionRequest,
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DescribeConfigsRequest,
)
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.produce import ProduceRequest

from bus.backends.kafka.link import WRITE, KafkaLink
from bus.backends.kafka.log import fetch
from bus.errors import Unreachable
from contracts.clock import Clock

REPLICAS = 3
"""Copies of each partition where there are so many brokers, two of which must have a record."""

_TIMEOUT_MS = 2500
_LED = 10.0
"""Seconds until every partition of a new topic is to have a leader."""

_PAUSE = 0.02
_TOPIC = 2
"""How DescribeConfigs calls a topic."""

_OF_4 = 3
"""The oldest form of Produce that Kafka 4 takes; Kafka 3 takes all of them (KIP-896)."""

_SETTINGS = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "segment.bytes": str(16 << 20),  # what is done is deleted by whole segments
    "segment.index.bytes": str(256 << 10),
    "compression.type": "uncompressed",  # a foreign publisher may use what our client cannot read
    "max.message.bytes": str((1 << 20) + 65536),
    "message.timestamp.type": "LogAppendTime",
    "unclean.leader.election.enable": "false",
}


async def create(link: KafkaLink, topic: str, count: int, clock: Clock) -> None:
    """Make a topic of `count` partitions, if it is not there; return when their leaders serve."""
    doing = "making a topic"
    await link.refresh(doing)
    replicas = min(REPLICAS, len(list(link.nodes)))
    settings = dict(_SETTINGS)
    if replicas >= REPLICAS:
        settings["min.insync.replicas"] = str(REPLICAS - 1)
    else:
        settings["flush.messages"] = "1"  # else a power cut takes what only memory has
    wanted: tuple[Any, ...] = (topic, count, replicas, [], list(settings.items()))
    request = CreateTopicsRequest([wanted], _TIMEOUT_MS, False)
    answer = await link.ask(request, doing, use=WRITE, node=link.controller)
    ((_, code, *_),) = answer.topic_errors
    if code != TopicAlreadyExistsError.errno:
        link.check(code, topic, doing)
    await _led(link, topic, count, clock)


async def grow(link: KafkaLink, topic: str, count: int, clock: Clock) -> None:
    """Give a topic so many partitions, if it has fewer."""
    doing = "growing a topic"
    await link.refresh(doing)
    request = CreatePartitionsRequest([(topic, (count, None))], _TIMEOUT_MS, False)
    answer = await link.ask(request, doing, use=WRITE, node=link.controller)
    ((_, code, *_),) = answer.topic_errors
    if code != InvalidPartitionsError.errno:
        link.check(code, topic, doing)
    await _led(link, topic, count, clock)


async def delete(link: KafkaLink, topic: str) -> None:
    """Delete a topic; one that is not there is no error. It goes on after the answer."""
    doing = "deleting a topic"
    await link.refresh(doing)
    request = DeleteTopicsRequest([topic], _TIMEOUT_MS)
    answer = await link.ask(request, doing, use=WRITE, node=link.controller)
    link.forget(topic)
    ((_, code),) = answer.topic_error_codes
    if code != UnknownTopicOrPartitionError.errno:
        link.check(code, topic, doing)


async def configured(link: KafkaLink, topics: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
    """The settings of these topics."""
    if not topics:
        return {}
    request = DescribeConfigsRequest([(_TOPIC, topic, None) for topic in topics])
    answer: Any = await link.ask(request, "asking for the settings of topics")
    return {
        name: {key: value for key, value, *_ in entries}
        for code, _, _, name, entries in answer.resources
        if not code
    }


async def _led(link: KafkaLink, topic: str, count: int, clock: Clock) -> None:
    """A leader that is named may not serve yet: ask each partition for something."""
    deadline = clock.monotonic() + _LED
    while True:
        link.forget(topic)
        try:
            leaders = await link.leaders(topic, "making a topic")
            if len(leaders) >= count:
                await fetch(link, topic, dict.fromkeys(leaders, 0))
                return
        except Unreachable:
            if clock.monotonic() >= deadline:
                raise
        await asyncio.sleep(_PAUSE)


async def copies(link: KafkaLink, names: Sequence[str]) -> Mapping[str, int]:
    """How many replicas the partitions of these topics have, the fewest."""
    if not names:
        return {}
    answer = await link.ask(MetadataRequest(list(names), False), "asking for the replicas")
    return {
        topic: min(len(replicas) for _, _, _, replicas, *_ in parts)
        for code, topic, _, parts in answer.topics
        if not code
    }


async def version(link: KafkaLink) -> str:
    """Which release it is at least: brokers tell only which requests they know."""
    answer = await link.ask(ApiVersionRequest(), "asking for its version")
    oldest = {key: first for key, first, _ in answer.api_versions}
    return "4.0 or later" if oldest.get(ProduceRequest.API_KEY, 0) >= _OF_4 else "before 4.0"
