"""Data folders for embedded PostgreSQL: made by the product once in a process, then copied.

Making one takes two seconds. Tests of how it is made begin with an empty folder instead.
"""

import atexit
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from deploy import postgres
from deploy.errors import ServerFailed


def lay(state: Path) -> None:
    """Put new data under `state` as `postgres.start` would make them, unless there are some.

    Raises what `postgres.start` does.
    """
    data = state / "postgres" / "data"
    if not data.exists():
        data.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", _made(os.getpid()), data], check=True)


@cache
def _made(_process: int) -> Path:
    """The data of a server that was started for the first time, and stopped."""
    folder = Path(tempfile.mkdtemp(prefix="muster-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o711)
    made = postgres.start(folder)
    if not postgres.stop(folder):
        raise ServerFailed("postgres", "it ended before it was stopped", made.log, ())
    return made.folder / "data"
