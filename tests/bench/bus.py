"""`muster bench bus --bus BROKER`: `Bus` and a worker beside the bare client of one broker.

One server for the whole run, with the settings that keep the promises; rounds are interleaved, and
each measurement has a fleet of its own. Beside RabbitMQ and Kafka lies a database, and what their
bare client needs of one to run a key once is in its figure.
"""

import argparse
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import TypeAlias

import uvloop

from tests.bench import measures, raw_kafka, raw_nats, raw_rabbitmq, raw_redis
from tests.bench.rows import Row, percentiles, rate, ratio, starts, table
from tests.bench.servers import Bench, server

LATENCIES = 1000


Latency: TypeAlias = Callable[[Bench, int], Awaitable[list[float]]]


@dataclass(frozen=True, slots=True)
class Raw:
    """A bare client: messages a second published and consumed, and seconds from publish to
    delivery without load."""

    name: str
    rates: Callable[[Bench, int], Awaitable[tuple[float, float]]]
    latency: Latency


async def _nats(bench: Bench, count: int) -> tuple[float, float]:
    return await raw_nats.publish(bench.url, count), await raw_nats.consume(bench.url, count)


async def _redis(bench: Bench, count: int) -> tuple[float, float]:
    return await raw_redis.raw(bench.url, count)


async def _rabbitmq(bench: Bench, count: int) -> tuple[float, float]:
    return await raw_rabbitmq.raw(bench.url, count, database=bench.database or "")


async def _kafka(bench: Bench, count: int) -> tuple[float, float]:
    return await raw_kafka.raw(bench.url, bench.database or "", count)


def _by_both(measure: Callable[[str, str, int], Awaitable[list[float]]]) -> Latency:
    """One that needs the broker and the database."""

    def latency(bench: Bench, count: int) -> Awaitable[list[float]]:
        return measure(bench.url, bench.database or "", count)

    return latency


def _by_url(measure: Callable[[str, int], Awaitable[list[float]]]) -> Latency:
    """One that needs the broker alone."""

    def latency(bench: Bench, count: int) -> Awaitable[list[float]]:
        return measure(bench.url, count)

    return latency


RAW: Mapping[str, Raw] = MappingProxyType(
    {
        "nats": Raw("nats-py", _nats, _by_url(raw_nats.latency)),
        "redis": Raw("redis-py", _redis, _by_url(raw_redis.latency)),
        "rabbitmq": Raw("aiormq", _rabbitmq, _by_both(raw_rabbitmq.latency)),
        "kafka": Raw("aiokafka", _kafka, _by_both(raw_kafka.latency)),
    }
)


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 0 unless a figure misses its target twofold."""
    parser = argparse.ArgumentParser(prog="muster bench bus", description=__doc__)
    parser.add_argument("--broker", choices=RAW, default="nats", help="which (default nats)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks per round")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    with server(options.broker) as bench:
        client = RAW[options.broker]
        rows = throughput(client, bench, options.rounds, options.tasks)
        rows += latency(client, bench, LATENCIES)
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        print(table(rows))
    return 1 if any(row.verdict == "not done" for row in rows) else 0


def throughput(client: Raw, bench: Bench, rounds: int, tasks: int) -> list[Row]:
    """Publish, consume and run, beside the bare client in the same rounds."""
    raw, ours, worker = [], [], []
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        raw.append(measures.Rates(*uvloop.run(_whole(client.rates(bench, tasks)))))
        ours.append(uvloop.run(measures.through_bus(bench.another_fleet(), tasks)))
        worker.append(measures.working(bench.another_fleet(), tasks))
    publish = [o.publish / r.publish for o, r in zip(ours, raw, strict=True)]
    consume = [o.consume / r.consume for o, r in zip(ours, raw, strict=True)]
    run = [w / r.consume for w, r in zip(worker, raw, strict=True)]
    return [
        rate(f"raw {client.name}: publish", [r.publish for r in raw]),
        rate("Bus: publish", [o.publish for o in ours]),
        ratio("Bus publish, of raw", publish, 0.8),
        rate("Fleet.publish_many, payloads to JSON included", [o.fleet for o in ours]),
        rate(f"raw {client.name}: consume", [r.consume for r in raw]),
        rate("Bus: pull and settle", [o.consume for o in ours]),
        ratio("Bus pull and settle, of raw", consume, 0.6),
        rate("no-op tasks of one worker process", worker),
        ratio("worker, of raw consume", run, 0.3),
    ]


async def _whole(rates: Awaitable[tuple[float, float]]) -> tuple[float, float]:
    return await rates


def latency(client: Raw, bench: Bench, count: int) -> list[Row]:
    """Unloaded: publish to deliver with the bare client, publish to the handler's first line."""

    async def raw() -> list[float]:
        return await client.latency(bench, count)

    ours = measures.starting(bench.another_fleet(), count)
    return starts(percentiles(uvloop.run(raw())), percentiles(ours))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
