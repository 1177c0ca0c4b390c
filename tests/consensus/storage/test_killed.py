"""A real process that writes is killed anywhere: all it was told is durable is there."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from consensus.storage.opening import verify_folder
from tests.consensus.storage.readies import Model, begin, state_of
from tests.consensus.storage.writer import follow

SEED = 11
WRITER = "tests.consensus.storage.writer"


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_by_a_kill(tmp_path: Path) -> None:
    """kill -9, twenty times on the same folder, each at another moment. What is found is what was
    written up to some transaction, and never less than was acknowledged."""
    folder, model, rng = begin(tmp_path / "node"), Model(), random.Random(5)
    seq = ahead = 0
    for _ in range(20):
        started, acknowledged = _run_and_kill(folder, rng.randint(1, 60))
        found = verify_folder(folder)
        seq = found.meta.seq
        assert seq >= acknowledged
        ahead += seq > acknowledged
        follow(model, SEED, started, seq)
        assert state_of(found) == model.state()
    print(f"{seq} transactions, {ahead} of 20 kills between the commit and its answer")


def _run_and_kill(folder: Path, lines: int) -> tuple[int, int]:
    """The number the process opened at, and the last it told before it was killed."""
    command = [sys.executable, "-m", WRITER, str(folder), str(SEED), "100000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        word, number = process.stdout.readline().split()
        assert word == "open"
        last = number
        for _ in range(lines):
            last = process.stdout.readline().strip()
        process.kill()
        rest = process.stdout.read().split("\n")[:-1]
    return int(number), int(rest[-1] if rest else last)
