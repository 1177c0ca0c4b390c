"""Whom a server runs as that refuses the administrator: an account of its own."""

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import NoAccount

NAME = "pgserver"
"""The account made where there is none, under the name the server's package gives it."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a process runs as; with None everywhere whoever starts it."""

    uid: int | None = None
    gid: int | None = None

    @property
    def groups(self) -> list[int] | None:
        """Its further groups: none of those of the administrator."""
        return None if self.uid is None else []

    def own(self, path: Path) -> None:
        """Give it a file or a folder."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def reach(self, path: Path) -> None:
        """Let it pass the folders above `path`: by name only, without seeing what is in them."""
        if self.uid is None:
            return
        for folder in path.resolve().parents:
            found = folder.stat()
            need = stat.S_IXUSR if found.st_uid == self.uid else stat.S_IXOTH
            if not found.st_mode & need:
                folder.chmod(stat.S_IMODE(found.st_mode) | need)

    def read(self, folder: Path) -> None:
        """Let it read and run what is in `folder`, as a strict umask at installation forbids."""
        if self.uid is None:
            return
        self.reach(folder)
        for path in (folder, *folder.rglob("*")):
            mode = stat.S_IMODE(path.stat().st_mode)
            wanted = mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0)
            if wanted != mode and not path.is_symlink():
                path.chmod(wanted)


def for_server(data: Path) -> Account:
    """Whom the server with the folder `data` runs as: its owner, or an account of its own where
    we are the administrator. Raises `NoAccount`."""
    if os.geteuid() != 0:
        return Account()
    if data.exists() and (found := data.stat()).st_uid != 0:
        return Account(found.st_uid, found.st_gid)
    entry = _entry() or _made()
    return Account(entry.pw_uid, entry.pw_gid)


def _entry() -> "pwd.struct_passwd | None":
    try:
        return pwd.getpwnam(NAME)
    except KeyError:
        return None


def _made() -> "pwd.struct_passwd":
    program = shutil.which("useradd")
    if program is None:
        raise NoAccount(NAME, "and this system has no `useradd`")
    done = subprocess.run(
        [program, "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", NAME],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    entry = _entry()
    if entry is None:
        raise NoAccount(NAME, done.stderr.strip() or "useradd made none")
    return entry
