"""Asking processes how they are, and a broker for the first sign that it works again."""

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias
from urllib.parse import urlsplit

import aiormq
import nats
import nats.errors
import nats.js.errors
import redis.asyncio
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from bus.keyvalue.protocol import KeyValue
from workers.fleet.presence import present

ERRORS = (
    OSError,
    TimeoutError,
    nats.errors.Error,
    nats.js.errors.Error,
    redis.RedisError,
    KafkaError,
)

_PAUSE = 0.05
_PATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class Probed:
    """An answer to a probe: its status and its reasons."""

    status: int
    why: tuple[str, ...]


async def addresses(store: KeyValue, role: str) -> dict[int, str]:
    """Where the workers of this role answer probes, by process id."""
    return {worker.pid: worker.health for worker in await present(store, role)}


async def probe(url: str, path: str = "/readyz") -> Probed:
    """Ask once."""
    return await asyncio.to_thread(_probe, url + path)


async def until(url: str, status: int, path: str = "/readyz") -> Probed:
    """Ask until this is the answer."""
    while True:
        found = await probe(url, path)
        if found.status == status:
            return found
        await asyncio.sleep(_PAUSE)


async def first_raw_operation(url: str) -> float:
    """When (monotonic) a client that knows nothing of muster had its first answer of the broker."""
    operation = OPERATIONS[urlsplit(url).scheme]
    while True:
        with suppress(*ERRORS):
            async with asyncio.timeout(_PATIENCE):
                await operation(url)
            return time.monotonic()
        await asyncio.sleep(_PAUSE)


async def _jetstream(url: str) -> None:
    client = await nats.connect(url, allow_reconnect=False, connect_timeout=1, error_cb=_heard)
    try:
        await client.jetstream(timeout=1).account_info()
    finally:
        await client.close()


async def _heard(error: Exception) -> None:
    """The error is raised too."""


async def _ping(url: str) -> None:
    async with redis.asyncio.Redis.from_url(url, retry=None) as client:
        await client.ping()


async def _cluster(url: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=urlsplit(url).netloc, request_timeout_ms=1000)
    try:
        await admin.start()
        await admin.describe_cluster()
    finally:
        await admin.close()


async def _exchange(url: str) -> None:
    link = aiormq.Connection(url)
    try:
        await link.connect()
        channel = await link.channel()
        await channel.exchange_declare("amq.topic", exchange_type="topic", passive=True)
    except Exception as error:  # a connection that ends is one without a name of its own
        raise ConnectionError from error
    finally:
        with suppress(Exception):
            await link.close()


Operation: TypeAlias = Callable[[str], Awaitable[None]]

OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {"nats": _jetstream, "redis": _ping, "kafka": _cluster, "amqp": _exchange}
)
"""What each broker is asked, by the scheme of its address."""


def _probe(url: str) -> Probed:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own process
            return Probed(answer.status, tuple(json.load(answer)["why"]))
    except urllib.error.HTTPError as error:
        return Probed(error.code, tuple(json.load(error)["why"]))
