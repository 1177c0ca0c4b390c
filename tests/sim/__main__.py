"""`python -m tests.sim --seeds 20000 --from 0`: many seeds, in two processes.

What came of each seed is a line of JSON in `build/sim/FIRST-LAST-CODE.jsonl`; `--sum` adds up all
that was played with the code as it is now (CODE is its hash), and counts no seed twice.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from multiprocessing import Pool
from pathlib import Path

from tests.sim.run import Result, Totals, play

ENOUGH = 100
"""Seeds from which on shares mean something."""
TOLD_EVERY = 30.0
KEPT = Path("build/sim")
CODE = ("bus", "consensus", "contracts", "tests/consensus", "tests/sim")
"""What a result depends on."""


def main() -> int:
    """Play the seeds; 1 if an invariant did not hold, or if too little happened."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim")
    parser.add_argument("--seeds", type=int, default=20_000)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--sum", action="store_true", help="add up what was played before")
    parser.add_argument("--into", type=Path, default=KEPT, help="where results are kept")
    args = parser.parse_args()
    began = time.monotonic()
    if args.sum:
        return _judge(_summed(args.into), "all that was kept", 0.0)
    seeds = range(args.first, args.first + args.seeds)
    totals = _played(seeds, args.processes, args.into)
    if args.seeds == 1:
        print(play(args.first).options)
    return _judge(totals, f"seeds {seeds.start} to {seeds.stop - 1}", time.monotonic() - began)


def _played(seeds: range, processes: int, into: Path) -> Totals:
    """Play all of them, and keep what came of each as soon as it is known."""
    totals, began, told = Totals(), time.monotonic(), time.monotonic()
    into.mkdir(parents=True, exist_ok=True)
    path = into / f"{seeds.start}-{seeds.stop - 1}-{_code()}.jsonl"
    with path.open("w", encoding="utf-8") as kept, Pool(processes) as pool:
        for result in pool.imap_unordered(play, seeds, chunksize=4):
            totals.add(result)
            kept.write(json.dumps(result.kept()) + "\n")
            if result.broken:
                print(f"seed {result.seed}: {result.error[:300]}", flush=True)
            if time.monotonic() - told > TOLD_EVERY:
                told = time.monotonic()
                kept.flush()
                print(_progress(totals, len(seeds), told - began), flush=True)
    return totals


def _progress(totals: Totals, seeds: int, seconds: float) -> str:
    left = seconds / totals.seeds * (seeds - totals.seeds)
    broken = len(totals.failures)
    return f"{totals.seeds} of {seeds} seeds, {broken} broken, {seconds:.0f} s, {left:.0f} s to go"


def _code() -> str:
    """A hash of the code that is simulated, and that simulates."""
    root, found = Path(__file__).parent.parent.parent, hashlib.sha256()
    for path in sorted(path for place in CODE for path in (root / place).rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


def _summed(into: Path) -> Totals:
    totals, seen = Totals(), set()
    for result in _kept(into):
        if result.seed not in seen:
            seen.add(result.seed)
            totals.add(result)
    return totals


def _kept(into: Path) -> Iterator[Result]:
    for path in sorted(into.glob(f"*-{_code()}.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            yield Result.of(json.loads(line))


def _judge(totals: Totals, what: str, seconds: float) -> int:
    if not totals.seeds:
        print("no seed was played")
        return 1
    easy = [*totals.too_easy()] if totals.seeds >= ENOUGH else []
    print("\n".join(totals.lines()))
    print("\n".join(f"too little happened: {text}" for text in easy), end="\n" if easy else "")
    verdict = f"{len(totals.failures)} violations" if totals.failures else "no violation"
    print(f"{what}: {totals.seeds} seeds, {verdict}, {seconds or totals.seconds:.0f} s")
    return 1 if totals.failures or easy else 0


if __name__ == "__main__":
    sys.exit(main())
