"""How much memory and processor is left, as the system tells this process.

Memory is that of the machine and, where there is one, of the control group this process lives in
(version 2 or 1) and of those around it: a container's limit is one of these. Pages the kernel can
drop at once do not count as used, as in Kubernetes' working set.
"""

from collections.abc import Iterator
from pathlib import Path

import psutil

_GROUPS = Path("/sys/fs/cgroup")
_PRESSURE = Path("/proc/pressure")


class Gauges:
    """Reads them; where the system has no such file, nothing is known of it."""

    def __init__(self) -> None:
        self._groups = [group for group in _groups() if group.limit() is not None]

    def memory(self) -> float:
        """The used part of what is scarcest."""
        machine = psutil.virtual_memory()
        used = [1.0 - machine.available / machine.total]
        return max(used + [part for group in self._groups if (part := group.used()) is not None])

    def stall(self, what: str) -> float | None:
        """Percent of the last ten seconds in which something waited for `memory` or `cpu`."""
        try:
            first = (_PRESSURE / what).read_text(encoding="ascii").partition("\n")[0]
        except OSError:
            return None
        found = dict(word.partition("=")[::2] for word in first.split())
        return float(found["avg10"]) if "avg10" in found else None


class _Group:
    """A control group; `names` are those of its files: limit, usage, what can be dropped."""

    def __init__(self, folder: Path, names: tuple[str, str, str]) -> None:
        self._folder = folder
        self._limit, self._usage, self._droppable = names

    def limit(self) -> int | None:
        """Bytes it may use; None for all there is."""
        number = self._number(self._limit)
        return number if number is not None and number < psutil.virtual_memory().total else None

    def used(self) -> float | None:
        """The used part of its limit."""
        limit, usage = self.limit(), self._number(self._usage)
        if limit is None or usage is None:
            return None
        return max(0, usage - self._inactive()) / max(1, limit)

    def _inactive(self) -> int:
        for line in self._text("memory.stat").splitlines():
            name, _, number = line.partition(" ")
            if name == self._droppable:
                return int(number)
        return 0

    def _number(self, name: str) -> int | None:
        text = self._text(name).strip()
        return int(text) if text.isdigit() else None

    def _text(self, name: str) -> str:
        try:
            return (self._folder / name).read_text(encoding="ascii")
        except OSError:
            return ""


_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _groups() -> Iterator[_Group]:
    """The control groups for memory that this process is in, from the inmost outwards."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if not kinds:
            root, names = _GROUPS, _V2
        elif "memory" in kinds.split(","):
            root, names = _GROUPS / "memory", _V1
        else:
            continue
        inmost = root / path.lstrip("/")
        for folder in (inmost, *inmost.parents):
            if folder.is_relative_to(root):
                yield _Group(folder, names)
