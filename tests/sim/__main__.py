"""`python -m tests.sim --seeds 20000 --from 0`: many seeds, in two processes."""

import argparse
import sys
import time
from multiprocessing import Pool

from tests.sim.run import Result, Totals, play

ENOUGH = 100
"""Seeds from which on shares mean something."""
TOLD_EVERY = 30.0


def main() -> int:
    """Play the seeds; 1 if an invariant did not hold, or if too little happened."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim")
    parser.add_argument("--seeds", type=int, default=20_000)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    seeds = range(args.first, args.first + args.seeds)
    totals, began, told = Totals(), time.monotonic(), time.monotonic()
    with Pool(args.processes) as pool:
        for result in pool.imap_unordered(play, seeds, chunksize=4):
            totals.add(result)
            _tell_failure(result)
            if time.monotonic() - told > TOLD_EVERY:
                told = time.monotonic()
                print(f"{totals.seeds} of {len(seeds)} seeds, {told - began:.0f} s", flush=True)
    easy = [*totals.too_easy()] if totals.seeds >= ENOUGH else []
    if args.seeds == 1:
        print(play(args.first).options)
    print("\n".join(totals.lines()))
    print("\n".join(f"too little happened: {text}" for text in easy), end="\n" if easy else "")
    verdict = f"{len(totals.failures)} violations" if totals.failures else "no violation"
    print(f"seeds {seeds.start} to {seeds.stop - 1}: {verdict}, {time.monotonic() - began:.0f} s")
    return 1 if totals.failures or easy else 0


def _tell_failure(result: Result) -> None:
    if result.broken:
        print(f"seed {result.seed}: {result.error[:300]}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
