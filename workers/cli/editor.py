"""A text in a person's own editor, so that nothing typed there is ever lost."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from contracts.errors import MusterError
from workers.cli.errors import Interrupted, InvalidJson, WrongUsage
from workers.cli.payloads import not_utf8

_USUAL = ("sensible-editor", "nano", "vim", "vi")
"""Tried on a terminal where neither $VISUAL nor $EDITOR says anything."""


class Draft:
    """A file that holds the text while it is edited. Used as `with`: it is removed at a good end,
    and kept, with its path in the error, at any other once something was typed."""

    def __init__(self, file: Path, text: str) -> None:
        self.before = text
        self._file = file
        self._file.write_text(text, encoding="utf-8")

    @classmethod
    def of(cls, name: str, text: str) -> "Draft":
        """A draft in a folder nobody else can read."""
        folder = Path(tempfile.mkdtemp(prefix="muster-"))
        plain = re.sub(r"[^A-Za-z0-9-]", "_", name)[:60]
        return cls(folder / f"{plain}.json", text)

    def edit(self) -> str:
        """What the editor left. Raises `WrongUsage` where there is none, `Interrupted` where it
        ended with an error: that is how a person gives up."""
        command = [*_command(), str(self._file)]
        try:
            code = subprocess.run(command, check=False).returncode
        except OSError as error:
            raise WrongUsage(
                f"the editor {command[0]!r} cannot be started",
                details=error.strerror or str(error),
                actions=("set EDITOR to one that can", "or give --payload"),
            ) from error
        if code != 0:
            raise Interrupted(
                "nothing was changed",
                details=f"the editor ended with code {code}",
                actions=("edit it again",),
            )
        return self._text()

    def _text(self) -> str:
        try:
            return self._file.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise not_utf8(error) from error
        except OSError as error:
            raise Interrupted(
                "nothing was changed",
                details=f"the editor left no file: {error.strerror}",
                actions=("edit it again",),
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or self._as_it_was():
            shutil.rmtree(self._file.parent, ignore_errors=True)
        elif isinstance(error, MusterError):
            own = () if isinstance(error, InvalidJson) else error.actions
            kept = (
                f"what you typed is in {self._file}",
                "mend it, then take it with --payload @FILE",
            )
            error.actions = (*kept, *own)
        else:
            sys.stderr.write(f"what you typed is in {self._file}\n")

    def _as_it_was(self) -> bool:
        with suppress(OSError):
            return self._file.read_bytes() == self.before.encode("utf-8")
        return True


def _command() -> list[str]:
    """The editor's command line, as `git` finds it: $VISUAL, then $EDITOR, then a usual one."""
    for name in ("VISUAL", "EDITOR"):
        words = shlex.split(os.environ.get(name, ""))
        if words:
            return words
    found = next((each for each in _USUAL if shutil.which(each)), None)
    if found is None or not sys.stdin.isatty():
        raise WrongUsage(
            "there is no editor to open",
            details="neither VISUAL nor EDITOR is set",
            actions=("set EDITOR, such as EDITOR=nano", "or give --payload"),
        )
    return [found]
