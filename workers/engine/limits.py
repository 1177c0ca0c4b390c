"""What a child process may use of the machine: memory and open files."""

import os
import resource
import sys
from contextlib import suppress

import psutil

MB = 1024 * 1024


def limit_memory(megabytes: int) -> None:
    """Let an allocation of this process beyond `megabytes` fail with `MemoryError`.

    Linux counts what a process may write (RLIMIT_DATA, setrlimit(2), since 4.7), not what it
    merely maps: threads and allocators reserve address space by the gigabyte. Elsewhere the
    watch of the resident memory (`resident`) is alone.
    """
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (megabytes * MB, megabytes * MB))


def limit_files(count: int) -> None:
    """Let this process open `count` files more than it has open now (EMFILE beyond)."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = 0
    while count and most != hard:
        count -= not _is_open(most)
        most += 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def resident(pid: int) -> int:
    """Bytes of memory that a process and all it has started hold; 0 when it is gone."""
    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                total += each.memory_info().rss
    return total
