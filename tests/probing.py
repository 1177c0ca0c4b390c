"""Asking processes how they are, and a broker for the first sign that it works again."""

import asyncio
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass

import nats
import nats.errors
import nats.js.errors

from bus.keyvalue.protocol import KeyValue
from workers.fleet.presence import present

_PAUSE = 0.05


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
    """When (monotonic) a client that knows nothing of muster had its first answer of JetStream."""
    while True:
        try:
            client = await nats.connect(
                url, allow_reconnect=False, connect_timeout=1, error_cb=_heard
            )
        except (OSError, nats.errors.Error, TimeoutError):
            await asyncio.sleep(_PAUSE)
            continue
        try:
            await client.jetstream(timeout=1).account_info()
            return time.monotonic()
        except (OSError, nats.errors.Error, nats.js.errors.Error, TimeoutError):
            await asyncio.sleep(_PAUSE)
        finally:
            await client.close()


async def _heard(error: Exception) -> None:
    """The error is raised too."""


def _probe(url: str) -> Probed:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own process
            return Probed(answer.status, tuple(json.load(answer)["why"]))
    except urllib.error.HTTPError as error:
        return Probed(error.code, tuple(json.load(error)["why"]))
