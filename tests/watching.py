"""What a real server and a real process say of themselves: operations, messages, memory."""

import json
import re
import socket
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import psutil

from tests.redis_server import RedisServer
from tests.servers import NatsServer

_SENT = frozenset({"evalsha", "eval", "blpop", "ping", "subscribe", "psubscribe", "auth", "client"})
"""Commands that clients of Redis send; the others run within scripts, or when one connects."""


def operations(server: NatsServer | RedisServer) -> int:
    """Messages or commands that clients have sent to the server since it started: each request,
    renewal, acknowledgement and write is one."""
    if isinstance(server, NatsServer):
        return int(_asked(server, "varz")["in_msgs"])
    return sum(n for name, n in commands(server).items() if name.partition("|")[0] in _SENT)


def commands(server: RedisServer) -> dict[str, int]:
    """How often each command ran on a Redis server since it started; those within a script, too."""
    place = urlsplit(server.url)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=5) as raw:
        raw.sendall(b"INFO commandstats\r\n")
        said = raw.makefile("rb")
        text = said.read(int(said.readline()[1:])).decode()
    found = re.findall(r"^cmdstat_(\S+?):calls=(\d+)", text, re.MULTILINE)
    return {name: int(calls) for name, calls in found}


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
