"""Loopback ports: which are free and who holds one."""

import errno
import secrets
import socket

import psutil

LOOPBACK = "127.0.0.1"

_LOWEST = 20_000
_HIGHEST = 32_000


def free() -> int:
    """A loopback port nobody listens on now; another program may take it in the next moment.

    It lies below the ports that systems give to outgoing connections (from 32768 on Linux, 49152
    elsewhere, RFC 6335): while a server is down for a moment, the clients that try to reach it
    must not be given its own port as theirs.
    """
    while True:
        port = _LOWEST + secrets.randbelow(_HIGHEST - _LOWEST + 1)
        if is_free(port):
            return port


def is_free(port: int) -> bool:
    """Whether nobody listens on `port`; connections that are still closing do not count.

    A port that only the administrator may open counts as free: the server then says so itself.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


def owner(port: int) -> str:
    """Who listens on `port`, for a person: name and process id where the system tells."""
    try:
        listening = [
            c.pid
            for c in psutil.net_connections(kind="tcp")
            if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port
        ]
        pid = next((pid for pid in listening if pid), None)
        if pid is not None:
            return f"{psutil.Process(pid).name()} (process {pid})"
    except (psutil.Error, OSError):
        pass
    return "another program"
