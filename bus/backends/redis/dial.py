"""The address of a Redis server, and a connection to it that has said who it is."""

import asyncio
import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from bus.backends.redis.errors import Refused, denied
from bus.backends.redis.wire import Wire
from contracts.errors import InvalidValue

_PORT = 6379

_KEEPALIVE = {"TCP_KEEPIDLE": 3, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 2}
"""Seconds, seconds and a number: a blocked read hears of a machine that is gone without asking."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, and who asks."""

    host: str
    port: int
    user: str
    password: str
    database: int
    secure: bool
    name: str


def address_of(url: str, name: str) -> Address:
    """The parts of `redis://[user][:password]@host[:port][/number]`, or `rediss://…` for TLS."""
    parts = urlsplit(url)
    number = parts.path.strip("/")
    try:
        port = parts.port or _PORT
        database = int(number or 0)
    except ValueError as error:
        raise InvalidValue(
            f"this is no address of a Redis server: {masked(url)}",
            details=str(error),
            actions=("write redis://user:password@host:6379/0",),
        ) from error
    return Address(
        host=parts.hostname or "127.0.0.1",
        port=port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=database,
        secure=parts.scheme.lower() == "rediss",
        name=re.sub(r"[^!-~]", "-", name) or "muster",
    )


def masked(url: str) -> str:
    """`url` without its password."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    credentials, _, host = parts.netloc.rpartition("@")
    user, colon, _ = credentials.partition(":")
    shown = f"{user}:***" if colon else user
    return urlunsplit(parts._replace(netloc=f"{shown}@{host}"))


async def dial(
    address: Address,
    lost: Callable[[Wire], None],
    *,
    silence: int,
    push: Callable[[Any], None] | None = None,
) -> Wire:
    """A connection that may be used. Raises `OSError`, `Refused` or `Lost`."""
    loop = asyncio.get_running_loop()
    context = ssl.create_default_context() if address.secure else None
    transport, wire = await loop.create_connection(
        lambda: Wire(lost, silence=silence, push=push), address.host, address.port, ssl=context
    )
    try:
        _watch_over(transport.get_extra_info("socket"))
        await _introduce(wire, address)
    except BaseException:
        wire.drop()
        raise
    return wire


def _watch_over(raw: socket.socket | None) -> None:
    if raw is None:
        return
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        option = getattr(socket, name, None)
        if option is not None:
            raw.setsockopt(socket.IPPROTO_TCP, option, value)


async def _introduce(wire: Wire, address: Address) -> None:
    """Log in; a name and a number are nice to have, and a user may not be allowed them."""
    asked = []
    if address.password:
        who = (address.user, address.password) if address.user else (address.password,)
        asked.append(wire.ask("AUTH", *who))
    if address.database:
        asked.append(wire.ask("SELECT", address.database))
    named = wire.ask("CLIENT", "SETNAME", address.name)
    number = wire.ask("CLIENT", "ID")
    answers = await asyncio.gather(*asked, named, number, return_exceptions=True)
    for answer in answers[: len(asked)]:
        if isinstance(answer, BaseException):
            raise answer
    for answer in answers[len(asked) :]:
        if isinstance(answer, BaseException) and not _forbidden(answer):
            raise answer
    wire.id = answers[-1] if isinstance(answers[-1], int) else None


def _forbidden(answer: BaseException) -> bool:
    """Whether a user who is known may not do this."""
    return isinstance(answer, Refused) and denied(answer) and answer.code == "NOPERM"
