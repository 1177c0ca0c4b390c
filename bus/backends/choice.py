"""The brokers there are, by the scheme of a bus's address. What one needs is imported when it is
chosen."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from bus.errors import Unsafe
from bus.opening import Parts, Terms

Opener: TypeAlias = Callable[[Terms], Awaitable[Parts]]


@dataclass(frozen=True, slots=True)
class Choice:
    """A broker: its name as traces have it, and what connects to it. `needs_database`: the bus
    database lies beside it. `many_hosts`: its address may name several, with commas between."""

    name: str
    open: Opener
    needs_database: bool = False
    many_hosts: bool = False


async def _nats(terms: Terms) -> Parts:
    from bus.backends.nats.opening import open_parts

    return await open_parts(terms)


async def _redis(terms: Terms) -> Parts:
    with _extra("Redis", "redis"):
        from bus.backends.redis.opening import open_parts
    return await open_parts(terms)


async def _rabbitmq(terms: Terms) -> Parts:
    with _extra("RabbitMQ", "rabbitmq"):
        from bus.backends.rabbitmq.opening import open_parts
    return await open_parts(terms)


async def _kafka(terms: Terms) -> Parts:
    with _extra("Kafka", "kafka"):
        from bus.backends.kafka.opening import open_parts
    return await open_parts(terms)


@contextmanager
def _extra(broker: str, extra: str) -> Iterator[None]:
    """Say what to install where the client library of a broker is not there."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise Unsafe(
            f"what {broker} needs is not installed",
            details=str(error),
            actions=(f"pip install 'muster[{extra}]'",),
        ) from error


_NATS = Choice("nats", _nats)
_REDIS = Choice("redis", _redis)
_RABBITMQ = Choice("rabbitmq", _rabbitmq, needs_database=True)
_KAFKA = Choice("kafka", _kafka, needs_database=True, many_hosts=True)

BACKENDS: Mapping[str, Choice] = MappingProxyType(
    {
        "nats": _NATS,
        "tls": _NATS,
        "redis": _REDIS,
        "rediss": _REDIS,
        "amqp": _RABBITMQ,
        "amqps": _RABBITMQ,
        "kafka": _KAFKA,
        "kafkas": _KAFKA,
    }
)
"""Which backend speaks what."""


def scheme_of(url: str) -> str:
    """What stands before `://`, in lower case; empty without it."""
    return url.partition("://")[0].lower() if "://" in url else ""


async def open_parts(terms: Terms) -> Parts:
    """Connect to the broker at `terms.url`, of a scheme in `BACKENDS`, and beside it to the one at
    `terms.fallback` if there is one. Raises `Unreachable`, `AccessDenied`, `Unsafe`; `InvalidValue`
    for a lease the broker cannot keep."""
    if terms.fallback is None:
        return await BACKENDS[scheme_of(terms.url)].open(terms)
    from bus.backends.failover.opening import Half
    from bus.backends.failover.opening import open_parts as open_both

    chosen = [(url, BACKENDS[scheme_of(url)]) for url in (terms.url, terms.fallback)]
    return await open_both(
        terms, [Half(url, each.open, leans=each.needs_database) for url, each in chosen]
    )
