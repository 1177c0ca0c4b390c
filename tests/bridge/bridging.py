"""Runs `muster bridge` as people do, until a block ends."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cli.running import Muster

SECONDS = 20.0


@contextmanager
def begun(muster: Muster, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """The command, once it says that it runs; killed if it does when the block ends."""
    with muster.start("bridge", *arguments) as process:
        said: list[str] = []
        try:
            assert process.stderr is not None
            for line in process.stderr:
                said.append(line)
                if "Ctrl-C ends it" in line:
                    break
            else:
                pytest.fail(f"the bridge ended at once: {''.join(said)}")
            yield process
        finally:
            process.kill()


@contextmanager
def bridged(muster: Muster, *arguments: str) -> Iterator[list[str]]:
    """The command, until the block ends; then it drains and says what it has done, which stands in
    the list afterwards."""
    told: list[str] = []
    with begun(muster, *arguments) as process:
        try:
            yield told
        finally:
            process.send_signal(signal.SIGTERM)
            told += process.communicate(timeout=SECONDS)[1].splitlines()
        assert process.returncode == 0, told
        assert "dead letters" in told[-1]
