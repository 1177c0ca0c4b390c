"""What a RabbitMQ's management plugin tells, where it answers: a client sees no policies."""

import asyncio
import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from urllib.request import Request, urlopen

from bus.backends.rabbitmq.link import RabbitLink

_PATIENCE = 2.0
_PORTS = {"amqp": ("http", 15672), "amqps": ("https", 15671)}

LOSING = frozenset({"delivery-limit", "max-length", "max-length-bytes", "message-ttl", "expires"})
"""What a policy may say that lets a queue drop what it has accepted."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the plugin `at` an address told. `losing`: queues of the fleet that drop messages by a
    policy: their names, the policy's, and by what. `silent`: why it told nothing; empty if it did.
    """

    at: str
    losing: tuple[tuple[str, str, Mapping[str, Any]], ...] = field(default=())
    silent: str = ""


async def policies(link: RabbitLink) -> Told:
    """Asks the plugin; its port is `management=PORT` in the bus's address, else the usual one."""
    at = _place(link.url)
    try:
        found = await asyncio.to_thread(_queues, at, link.url)
    except (OSError, ValueError) as error:
        return Told(at, silent=str(error))
    return Told(at, tuple(_losing(found, f"{link.exchange}.")))


def _losing(
    queues: list[dict[str, Any]], prefix: str
) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for queue in queues:
        name = str(queue.get("name", ""))
        limits = queue.get("effective_policy_definition") or {}
        bad = {k: v for k, v in limits.items() if k in LOSING} if isinstance(limits, dict) else {}
        if name.startswith(prefix) and bad:
            policy = queue.get("policy") or queue.get("operator_policy") or "of an operator"
            yield name, str(policy), bad


def _place(url: str) -> str:
    parts = urlsplit(url)
    scheme, usual = _PORTS[parts.scheme]
    port = (parse_qs(parts.query).get("management") or [str(usual)])[0]
    return f"{scheme}://{parts.hostname}:{port}"


def _queues(at: str, url: str) -> list[dict[str, Any]]:
    """Raises `OSError`, `ValueError`."""
    parts = urlsplit(url)
    vhost = quote(unquote(parts.path[1:]) or "/", safe="")
    fields = "name,policy,operator_policy,effective_policy_definition"
    login = f"{unquote(parts.username or 'guest')}:{unquote(parts.password or 'guest')}"
    request = Request(f"{at}/api/queues/{vhost}?columns={fields}")  # noqa: S310 - http or https
    request.add_header("Authorization", f"Basic {b64encode(login.encode()).decode()}")
    with urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310 - http or https
        found = json.load(answer)
    if not isinstance(found, list):
        raise ValueError("it answers no list of queues")  # noqa: TRY004 - what came, not who asked
    return found
