"""The folder of a server of this machine, and the files that are written for it."""

import os
from pathlib import Path

from deploy.errors import FolderUnusable


def prepare(folder: Path) -> None:
    """Make `folder`, for nobody but us. Raises `FolderUnusable`."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FolderUnusable(folder, str(error)) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise FolderUnusable(folder, "it cannot be written to")


def write(path: Path, text: str) -> None:
    """Replace a file; a reader sees the old one or the new one."""
    fresh = path.with_suffix(path.suffix + ".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
