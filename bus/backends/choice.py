"""The brokers there are, by the scheme of a bus's address. What one needs is imported when it is
chosen."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from bus.errors import Unsafe
from bus.opening import Parts, Terms

Opener: TypeAlias = Callable[[Terms], Awaitable[Parts]]


async def _nats(terms: Terms) -> Parts:
    from bus.backends.nats.opening import open_parts

    return await open_parts(terms)


async def _redis(terms: Terms) -> Parts:
    try:
        from bus.backends.redis.opening import open_parts
    except ModuleNotFoundError as error:
        raise missing("Redis", "redis", error) from error
    return await open_parts(terms)


async def _rabbitmq(terms: Terms) -> Parts:
    try:
        from bus.backends.rabbitmq.opening import open_parts
    except ModuleNotFoundError as error:
        raise missing("RabbitMQ", "rabbitmq", error) from error
    return await open_parts(terms)


async def _kafka(terms: Terms) -> Parts:
    try:
        from bus.backends.kafka.opening import open_parts
    except ModuleNotFoundError as error:
        raise missing("Kafka", "kafka", error) from error
    return await open_parts(terms)


BACKENDS: Mapping[str, Opener] = MappingProxyType(
    {
        "nats": _nats,
        "tls": _nats,
        "redis": _redis,
        "rediss": _redis,
        "amqp": _rabbitmq,
        "amqps": _rabbitmq,
        "kafka": _kafka,
        "kafkas": _kafka,
    }
)
"""Which backend speaks what."""

WITH_DATABASE = frozenset({"amqp", "amqps", "kafka", "kafkas"})
"""Those that need the bus database beside them."""


def missing(broker: str, extra: str, error: ModuleNotFoundError) -> Unsafe:
    """The error for a client library that is not installed."""
    return Unsafe(
        f"what {broker} needs is not installed",
        details=str(error),
        actions=(f"pip install 'muster[{extra}]'",),
    )


def scheme_of(url: str) -> str:
    """What stands before `://`, in lower case; empty without it."""
    return url.partition("://")[0].lower() if "://" in url else ""


async def open_parts(terms: Terms) -> Parts:
    """Connect to the broker at `terms.url`, of a scheme in `BACKENDS`. Raises `Unreachable`,
    `AccessDenied`, `Unsafe`; `InvalidValue` for a lease the broker cannot keep."""
    return await BACKENDS[scheme_of(terms.url)](terms)
