"""Other queues beside muster, on one Redis that syncs every write: no-op tasks of 500 bytes, one
worker process each, each with the settings its makers recommend for tasks that must not be lost.

    python -m tests.bench.side_by_side --tasks 20000 --rounds 5

In each round each library publishes its tasks, then works them off, by turns. With `--file`, rounds
are added to those kept there, so that a run may be made in pieces; `--rounds 0` shows them.
muster's recorder is off while it is timed; then one writes what was told into PostgreSQL.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from redis import Redis

from deploy.brokers import REDIS
from tests.bench.side_by_side.catching_up import recorded
from tests.bench.side_by_side.libraries import OTHERS, OURS, Library, python_of, version_of
from tests.bench.side_by_side.timing import published, worked
from tests.redis_server import RedisServer

_Round = Mapping[str, Mapping[str, float]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.side_by_side")
    parser.add_argument("--tasks", type=int, default=20_000, help="of each library and round")
    parser.add_argument("--rounds", type=int, default=5, help="to measure now (default 5)")
    parser.add_argument("--file", type=Path, help="keeps rounds; those in it count, too")
    parser.add_argument("--only", help="names of libraries, by commas")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else [one.name for one in OTHERS]
    others = [one for one in OTHERS if one.name in names]
    for one in others:
        python_of(one)
    rounds: list[_Round] = []
    if options.file and options.file.exists():
        rounds = json.loads(options.file.read_text(encoding="utf-8"))
    for _ in range(options.rounds):
        rounds.append(_round([*others, OURS], options.tasks))
        if options.file:
            options.file.write_text(json.dumps(rounds, indent=1), encoding="utf-8")
    if rounds:
        print(_table(rounds, others))


def _round(libraries: Sequence[Library], tasks: int) -> _Round:
    """One server for all of them; what one has left is forgotten before the next."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            for library in libraries:
                rates = {"publish": published(library, server.url, tasks)}
                rates["consume"] = worked(library, server.url, tasks)
                if library is OURS:
                    rates["recorded"] = asyncio.run(recorded(server.url))
                with Redis.from_url(server.url) as client:
                    client.flushall()
                print(library.name, {k: round(v) for k, v in rates.items()}, file=sys.stderr)
                found[library.name] = rates
        finally:
            server.stop()
    return found


def _table(rounds: Sequence[_Round], others: Sequence[Library]) -> str:
    """Medians with their spread; the ratios are those of the same rounds."""
    head = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
    lines = [
        f"{head}Redis {REDIS.release()}, {len(rounds)} rounds",
        "",
        "| | publish /s | consume /s | muster does | target |",
        "|---|--:|--:|--:|--:|",
    ]
    for one in [*others, OURS]:
        ratio = [r[OURS.name]["consume"] / r[one.name]["consume"] for r in rounds]
        shown = "" if one is OURS else f"{_spread(ratio, '.1f')} × | ≥ {one.times:g} ×"
        lines.append(
            f"| {one.name} {version_of(one)} | {_spread(_all(rounds, one, 'publish'))} "
            f"| {_spread(_all(rounds, one, 'consume'))} | {shown or '|'} |"
        )
    events = _spread(_all(rounds, OURS, "recorded"))
    return "\n".join([*lines, "", f"recorder, into PostgreSQL afterwards: {events} events/s"])


def _all(rounds: Sequence[_Round], library: Library, what: str) -> list[float]:
    return [each[library.name][what] for each in rounds]


def _spread(values: Sequence[float], form: str = ",.0f") -> str:
    def shown(value: Any) -> str:
        return format(value, form)

    return f"{shown(median(values))} ({shown(min(values))} to {shown(max(values))})"


if __name__ == "__main__":
    main()
