"""Files that are there after a power failure: flushed, renamed into place, their folder flushed."""

import fcntl
import os
from pathlib import Path

_FULL = getattr(fcntl, "F_FULLFSYNC", None)
"""macOS: only this makes the drive write what it holds."""


def sync(file: int) -> None:
    """Flush an open file or folder to the disk."""
    if _FULL is None:
        os.fsync(file)
    else:
        fcntl.fcntl(file, _FULL)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        sync(handle)
    finally:
        os.close(handle)


def write_durably(path: Path, data: bytes) -> None:
    """Make a file hold `data`, wholly or not at all, also after a power failure."""
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        sync(file.fileno())
    fresh.replace(path)
    sync_folder(path.parent)
