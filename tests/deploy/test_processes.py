"""Ends of processes, whoever else waits for them."""

import subprocess
import sys

import psutil
from typing_extensions import override

from deploy.processes import ended


class ReapedMeanwhile(psutil.Process):
    """A process whose parent notices its end right after it was asked whether it runs."""

    def __init__(self, child: "subprocess.Popen[bytes]") -> None:
        self._child = child
        super().__init__(child.pid)

    @override
    def is_running(self) -> bool:
        found = bool(super().is_running())
        self._child.wait()
        return found


def test_one_that_its_parent_reaps_while_it_is_looked_at_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = ReapedMeanwhile(child)
    child.kill()
    assert ended(process, 5.0)
    assert child.stdin is not None
    child.stdin.close()
