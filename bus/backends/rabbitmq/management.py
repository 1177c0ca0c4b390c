"""What a RabbitMQ's management plugin tells, where it answers: a client sees no policies."""

import asyncio
import json
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from urllib.request import Request, urlopen

from bus.backends.rabbitmq.link import RabbitLink

_PATIENCE = 2.0
_PORTS = {"amqp": ("http", 15672), "amqps": ("https", 15671)}

LOSING = frozenset({"delivery-limit", "max-length", "max-length-bytes", "message-ttl", "expires"})
"""What a policy may say that lets a queue drop what it has accepted."""


async def policies(link: RabbitLink) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Queues of this fleet that drop messages by a policy: their names, the policy's, and by what.
    Empty where the plugin does not answer; its port is `management=PORT` in the bus's address, else
    the usual one."""
    found = await asyncio.to_thread(_queues, link.url)
    losing: list[tuple[str, str, Mapping[str, Any]]] = []
    for queue in found:
        name = str(queue.get("name", ""))
        limits = queue.get("effective_policy_definition") or {}
        bad = {k: v for k, v in limits.items() if k in LOSING} if isinstance(limits, dict) else {}
        if name.startswith(f"{link.exchange}.") and bad:
            policy = queue.get("policy") or queue.get("operator_policy") or "of an operator"
            losing.append((name, str(policy), bad))
    return losing


def _queues(url: str) -> list[dict[str, Any]]:
    parts = urlsplit(url)
    scheme, usual = _PORTS[parts.scheme]
    port = (parse_qs(parts.query).get("management") or [str(usual)])[0]
    vhost = quote(unquote(parts.path[1:]) or "/", safe="")
    fields = "name,policy,operator_policy,effective_policy_definition"
    address = f"{scheme}://{parts.hostname}:{port}/api/queues/{vhost}?columns={fields}"
    login = f"{unquote(parts.username or 'guest')}:{unquote(parts.password or 'guest')}"
    request = Request(address)  # noqa: S310 - http or https
    request.add_header("Authorization", f"Basic {b64encode(login.encode()).decode()}")
    with (
        suppress(OSError, ValueError),
        urlopen(request, timeout=_PATIENCE) as answer,  # noqa: S310
    ):
        found = json.load(answer)
        return found if isinstance(found, list) else []
    return []
