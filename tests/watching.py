"""What a real server and a real process say of themselves: operations, messages, memory."""

import json
import urllib.request
from typing import Any

import psutil

from tests.servers import NatsServer


def operations(server: NatsServer) -> int:
    """Messages that clients have sent to the server since it started: each request, renewal,
    acknowledgement and write is one."""
    return int(_asked(server, "varz")["in_msgs"])


def messages(server: NatsServer, fleet: str) -> dict[str, int]:
    """How many messages lie in each stream of a fleet."""
    found = _asked(server, "jsz?streams=true&acc=$G")
    streams = [s for account in found["account_details"] for s in account["stream_detail"]]
    mine = [s for s in streams if f"MUSTER_{fleet}" in s["name"]]
    return {stream["name"]: int(stream["state"]["messages"]) for stream in mine}


def resident(pid: int) -> float:
    """MiB a process holds in memory."""
    return float(psutil.Process(pid).memory_info().rss) / 2**20


def _asked(server: NatsServer, what: str) -> Any:
    with urllib.request.urlopen(f"{server.monitor_url}/{what}", timeout=5) as answer:  # noqa: S310
        return json.load(answer)
