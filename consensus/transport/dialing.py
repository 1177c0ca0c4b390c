"""Opens connections: what an address means, and how long to wait before the next attempt."""

import asyncio
import random
import ssl
from dataclasses import dataclass
from typing import Any

from consensus.transport.errors import Unreached
from consensus.transport.limits import Limits
from consensus.transport.link import Link


def parse(address: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[::1]:port`; `ValueError` for anything else."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ValueError(f"{address!r} is no host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def tls_options(tls: ssl.SSLContext | None, limits: Limits) -> dict[str, Any]:
    """How asyncio is told to speak TLS, or not to."""
    if tls is None:
        return {}
    seconds = {"ssl_handshake_timeout": limits.hello_s, "ssl_shutdown_timeout": limits.grace_s}
    return {"ssl": tls, **seconds}


async def dial(address: str, limits: Limits, tls: ssl.SSLContext | None = None) -> Link:
    """A connection to `address` within `dial_s`, or `Unreached`. With `tls` the certificate must be
    of the host in the address, if the context checks that. The caller ends it."""
    try:
        host, port = parse(address)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(limits.dial_s):
            _, link = await loop.create_connection(
                lambda: Link(limits), host, port, **tls_options(tls, limits)
            )
    except TimeoutError as error:
        raise Unreached(address, f"no answer within {limits.dial_s:g} s") from error
    except (OSError, ValueError) as error:
        raise Unreached(address, str(error)) from error
    return link


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds between attempts: they double from `first` to `cap`, and from half of that to all of
    it is waited, so that a cluster that starts anew does not dial in step (M. Brooker, "Exponential
    Backoff And Jitter", AWS Architecture Blog, 2015, "equal jitter"). The cap is about an
    election's time: a peer that is back must be reached before the next one."""

    first: float = 0.05
    cap: float = 0.5

    def delay(self, tries: int, rng: random.Random) -> float:
        """What to wait after `tries` failures in a row, from 1 on."""
        longest = min(self.cap, self.first * float(2 ** min(tries - 1, 30)))
        return rng.uniform(longest / 2, longest)
