"""Room on the disk, and the ballast that an operator can let go of."""

import os
import shutil
from pathlib import Path

from consensus.raft.errors import NoSpace
from consensus.storage.files import sync_folder
from consensus.storage.store import MIB, Limits, Space


class Room:
    """The disk under a folder. The ballast is a file of blocks that are really taken."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits
        self._ballast = folder / "ballast"

    def space(self) -> Space:
        """As it is now."""
        held = self._ballast.stat().st_size if self._ballast.exists() else 0
        return Space(self._free(), self._limits.floor, held)

    def require(self, size: int) -> None:
        """Raise `NoSpace` where `size` more bytes would leave less than the margin."""
        if self._free() - size < self._limits.margin:
            raise NoSpace

    def hold(self) -> None:
        """Take the ballast where there is room for it beside the floor; else go without."""
        size = self._limits.ballast
        if self._ballast.exists() and self._ballast.stat().st_size == size:
            return
        self._ballast.unlink(missing_ok=True)
        if size and self._free() - size >= self._limits.floor:
            _fill(self._ballast, size)

    def let_go(self) -> None:
        """Give the ballast to the system."""
        self._ballast.unlink(missing_ok=True)
        sync_folder(self._folder)

    def _free(self) -> int:
        return shutil.disk_usage(self._folder).free


def _fill(path: Path, size: int) -> None:
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            for _ in range(-(-size // MIB)):
                file.write(bytes(MIB))
            file.truncate(size)
