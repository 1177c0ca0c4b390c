"""The brokers there are, by the scheme of a bus's address. What one needs is imported when it is
chosen."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from bus.opening import Parts, Terms

Opener: TypeAlias = Callable[[Terms], Awaitable[Parts]]


async def _nats(terms: Terms) -> Parts:
    from bus.backends.nats.opening import open_parts

    return await open_parts(terms)


BACKENDS: Mapping[str, Opener] = MappingProxyType({"nats": _nats, "tls": _nats})
"""Which backend speaks what."""


def scheme_of(url: str) -> str:
    """What stands before `://`, in lower case; empty without it."""
    return url.partition("://")[0].lower() if "://" in url else ""


async def open_parts(terms: Terms) -> Parts:
    """Connect to the broker at `terms.url`, of a scheme in `BACKENDS`. Raises `Unreachable`,
    `AccessDenied`, `Unsafe`; `InvalidValue` for a lease the broker cannot keep."""
    return await BACKENDS[scheme_of(terms.url)](terms)
