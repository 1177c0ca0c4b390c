"""Who this process is, in events, dead letters and presence."""

import os
import secrets
import socket
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """A worker process: a name that no other process ever had, its pid and its host."""

    name: str
    pid: int
    host: str

    @classmethod
    def of_this_process(cls) -> "Identity":
        """Host, pid and a random part: a pid alone comes again."""
        host, pid = socket.gethostname(), os.getpid()
        return cls(f"{host}-{pid}-{secrets.token_hex(3)}", pid, host)
