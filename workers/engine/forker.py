"""The process that forks children: it has imported what every child needs, and nothing else.

One thread, no event loop, no role's code: what is forked here inherits no lock, no connection
and no memory of another task. The worker holds the other end of `control`; when that ends, every
child is killed and this process ends.

Orders are of one size, so that a descriptor belongs to exactly one of them: `S number` with the
child's channel starts a child, `K number` kills one with its whole process group. Reports are
`B number pid` (born), `F number errno` (could not be), `D number code` (dead). A child is
reaped only after its group was killed: until then nobody else can have its number.
"""

import os
import signal
import socket
import struct
from contextlib import suppress
from select import select
from typing import NoReturn

ORDER = struct.Struct("!cQ")
REPORT = struct.Struct("!cQi")
START, KILL = b"S", b"K"
BORN, FAILED, DEAD = b"B", b"F", b"D"


def main(number: int) -> NoReturn:
    """Serve the worker at the other end of the socket with this file number until it ends."""
    from workers.engine import child  # what takes long to import, once for all children

    del child
    Forker(socket.socket(fileno=number)).serve()
    os._exit(0)


class Forker:
    """Starts, kills and reaps children as it is told."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, int] = {}
        self._bell, self._rope = socket.socketpair()
        self._bell.setblocking(False)
        self._rope.setblocking(False)

    def serve(self) -> None:
        """Until the worker is gone; then no child is left."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._rope.fileno(), warn_on_full_buffer=False)
        for quiet in (signal.SIGINT, signal.SIGTERM):  # the worker decides when it ends
            signal.signal(quiet, signal.SIG_IGN)
        going = True
        while going:
            ready, _, _ = select([self._control, self._bell], [], [])
            if self._bell in ready:
                with suppress(BlockingIOError):
                    self._bell.recv(4096)
                self._reap()
            if self._control in ready:
                going = self._obey()
        for pid in self._children:
            _kill(pid)

    def _obey(self) -> bool:
        """One order; False when there will be no more."""
        try:
            data, files, _, _ = socket.recv_fds(self._control, ORDER.size, 1)
        except OSError:
            return False
        if len(data) < ORDER.size:
            return False
        what, number = ORDER.unpack(data)
        if what == KILL:
            if number in self._children.values():
                _kill(next(pid for pid, n in self._children.items() if n == number))
            return True
        self._start(number, files[0])
        os.close(files[0])
        return True

    def _start(self, number: int, channel: int) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            self._report(FAILED, number, error.errno or 0)
            return
        if pid == 0:
            self._become(channel)
        with suppress(OSError):  # it did so itself
            os.setpgid(pid, pid)
        self._children[pid] = number
        self._report(BORN, number, pid)

    def _become(self, channel: int) -> NoReturn:
        """In the child: leave everything of this process behind, then run the task."""
        try:
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for each in (self._control, self._bell, self._rope):
                each.close()
            os.set_inheritable(channel, False)
            from workers.engine import child

            child.main(socket.socket(fileno=channel))
        except BaseException:  # noqa: BLE001 - a child never goes on as its parent
            import traceback

            traceback.print_exc()
        finally:
            os._exit(70)

    def _reap(self) -> None:
        for pid in list(self._children):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            _kill(pid)
            _, status = os.waitpid(pid, 0)
            self._report(DEAD, self._children.pop(pid), os.waitstatus_to_exitcode(status))

    def _report(self, what: bytes, number: int, value: int) -> None:
        with suppress(OSError):
            self._control.sendall(REPORT.pack(what, number, value))


def _kill(pid: int) -> None:
    with suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
