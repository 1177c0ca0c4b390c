"""What a real server and a real process say of themselves: operations, messages, memory."""

import json
import re
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


def live_heap(profile_url: str) -> float:
    """MiB that a NATS server's collector found in use the last time it ran.

    What the process holds is up to twice that, by when the collector ran. `profile_url` is where
    its `prof_port` answers. The runtime aims at `NextGC` = what is live + GOGC (100) % of it:
    https://go.dev/doc/gc-guide#GOGC.
    """
    with urllib.request.urlopen(f"{profile_url}/debug/pprof/heap?debug=1", timeout=10) as answer:  # noqa: S310
        found = re.search(rb"^# NextGC = (\d+)", answer.read(), re.MULTILINE)
    assert found, "the server's profile does not tell NextGC"
    return int(found[1]) / 2 / 2**20


def resident(pid: int) -> float:
    """MiB a process holds in memory."""
    return float(psutil.Process(pid).memory_info().rss) / 2**20


def _asked(server: NatsServer, what: str) -> Any:
    with urllib.request.urlopen(f"{server.monitor_url}/{what}", timeout=5) as answer:  # noqa: S310
        return json.load(answer)
