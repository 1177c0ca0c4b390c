"""What a real server and a real process say of themselves: operations, messages, memory."""

import json
import re
import socket
import urllib.request
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import psutil

from tests.brokers import Broker
from tests.kafka_server import KafkaServer
from tests.pairs import Pair
from tests.rabbitmq_server import RabbitServer
from tests.redis_server import RedisServer
from tests.servers import NatsServer, PostgresServer

_SENT = frozenset(
    "evalsha eval blpop ping subscribe psubscribe auth client xreadgroup xrange".split()
)
"""Commands that clients of Redis send; the others run within scripts, or when one connects."""


_NO_OPERATION = "packets"
"""Of RabbitMQ: they carry methods, which are counted, and heartbeats."""


def operations(broker: Broker) -> int:
    """How often clients have asked the broker for something, by its own count: each request,
    renewal, acknowledgement and write is one. Only the difference of two answers means something.
    """
    return total(asked(broker))


def total(kinds: Mapping[str, int]) -> int:
    """Of `asked`, those that are operations."""
    return sum(n for kind, n in kinds.items() if kind != _NO_OPERATION)


def asked(broker: Broker) -> Counter[str]:
    """By kinds, as far as that broker tells them apart; of two, of both."""
    if isinstance(broker, Pair):
        return asked(broker.first) + asked(broker.second)
    if isinstance(broker, NatsServer):
        return Counter({"messages": int(_asked(broker, "varz")["in_msgs"])})
    if isinstance(broker, RedisServer):
        sent = commands(broker).items()
        return Counter({name: n for name, n in sent if name.partition("|")[0] in _SENT})
    assert isinstance(broker, RabbitServer | KafkaServer)
    return broker.asked()


def transactions(server: PostgresServer, database: str) -> int:
    """How many a database has seen, its address being `database`; also those of sessions that were
    told something, which begin one to read it. A session tells of several in one second up to ten
    seconds later (PostgreSQL's `pgstat_report_stat`)."""
    found = "SELECT xact_commit + xact_rollback FROM pg_stat_database"
    where = f"WHERE datname = '{urlsplit(database).path[1:]}'"
    return int(server.run(f"{found} {where}", database=_OTHER))


def log_statements(server: PostgresServer) -> None:
    """Let it write down every statement, for `statements`."""
    for setting in ("log_statement = 'all'", "log_line_prefix = '%a '"):
        server.run(f"ALTER SYSTEM SET {setting}", database=_OTHER)
    server.run("SELECT pg_reload_conf()", database=_OTHER)


def statements(server: PostgresServer) -> int:
    """How many the bus has sent to it, by its own log."""
    text = server.log.read_text(encoding="utf-8", errors="replace")
    return len(re.findall(r"^muster-bus LOG:  (?:execute|statement)", text, re.MULTILINE))


_OTHER = "postgres"
"""A database that no fleet uses: who asks there is not counted."""


def processor(pids: Iterable[int]) -> float:
    """Seconds of processor time that these processes have used."""
    spent = [psutil.Process(pid).cpu_times() for pid in pids]
    return float(sum(each.user + each.system for each in spent))


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
