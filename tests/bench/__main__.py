"""`muster bench`: what this tree does beside the raw driver, in one run on this machine.

Rounds are interleaved, so that ratios hold while the machine's speed drifts. Nothing is switched
off: the server syncs every write, tasks carry dedupe keys, leases are kept, events are published
to a bound group.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from tests.bench import measures
from tests.bench.rows import Row, at_most, percentiles, rate, ratio, spread, starts, table


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 0 unless a figure misses its target twofold."""
    parser = argparse.ArgumentParser(prog="muster bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks per round")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    rows = [*throughput(options.rounds, options.tasks), *latency(), *process()]
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        print(table(rows))
    return 1 if any(row.verdict == "not done" for row in rows) else 0


def throughput(rounds: int, tasks: int) -> list[Row]:
    """Publish, consume and run, beside the raw driver in the same rounds."""
    raw, ours, worker = [], [], []
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        raw.append(measures.raw(tasks))
        ours.append(measures.ours(tasks))
        worker.append(measures.worker(tasks))
    publish = [o.publish / r.publish for o, r in zip(ours, raw, strict=True)]
    consume = [o.consume / r.consume for o, r in zip(ours, raw, strict=True)]
    run = [w / r.consume for w, r in zip(worker, raw, strict=True)]
    return [
        rate("raw nats-py: publish", [r.publish for r in raw]),
        rate("Bus: publish", [o.publish for o in ours]),
        ratio("Bus publish, of raw", publish, 0.8),
        rate("Fleet.publish_many, payloads to JSON included", [o.fleet for o in ours]),
        rate("raw nats-py: consume", [r.consume for r in raw]),
        rate("Bus: pull and settle", [o.consume for o in ours]),
        ratio("Bus pull and settle, of raw", consume, 0.6),
        rate("no-op tasks of one worker process", worker),
        ratio("worker, of raw consume", run, 0.3),
    ]


def latency() -> list[Row]:
    """Unloaded: publish to deliver with the driver, publish to the handler's first line."""
    raw = percentiles(measures.raw_latency(1000))
    return starts(raw, percentiles(measures.start_latency(1000)))


def process() -> list[Row]:
    """Memory and the time until something can be used."""
    memory = [measures.idle_memory() for _ in range(3)]
    helps = [measures.help_seconds() * 1000 for _ in range(10)]
    ups = [measures.up_seconds() for _ in range(3)]
    return [
        at_most("idle worker, resident", [m[0] for m in memory], "MiB", 60),
        Row("idle worker, its own", *spread([m[1] for m in memory]), "MiB"),
        at_most("muster --help", helps, "ms", 200),
        at_most("muster up until ready", ups, "s", 6),
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
