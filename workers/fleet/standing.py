"""The record of what stands in a folder: which supervisor runs, with which processes.

`STATE/up.json` is for `ps` and `down`; the lock `STATE/up.lock`, which the system lets go of when
its holder dies, is what allows one supervisor per folder.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from deploy.errors import FolderUnusable
from workers.fleet.errors import AlreadyUp
from workers.fleet.seat import Info, State

_SAME_START_SECONDS = 2.0
"""How far a process's start time may seem to move when the system's clock is corrected."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Kept(_Frozen):
    """One process of the supervisor; see `workers.fleet.seat.Info`."""

    role: str
    pid: int | None
    created: float | None
    state: State
    since: float
    restarts: int
    exit_code: int | None
    again_at: float | None = None


class Standing(_Frozen):
    """A supervisor and its processes. `history`: where it is kept, if it is; `owns`: the embedded
    servers that end with it; `machine`: its name in the fleet. `ready`: seconds it took until every
    worker was, or None; `notes`: what was told as it became so. Times are UTC epoch seconds."""

    pid: int
    created: float
    bus: str
    history: str | None = None
    owns: tuple[str, ...] = ()
    machine: str = ""
    ready: float | None = None
    notes: tuple[str, ...] = ()
    workers: tuple[Kept, ...] = ()

    def with_processes(self, infos: Sequence[Info]) -> "Standing":
        """The same with its processes as they are now."""
        kept = tuple(
            Kept.model_validate({name: getattr(info, name) for name in Kept.model_fields})
            for info in infos
        )
        return self.model_copy(update={"workers": kept})


def counts(workers: Sequence[Kept]) -> dict[str, int]:
    """How many processes there are of each role, those that drain not counted."""
    staying = [kept.role for kept in workers if kept.state not in {State.STOPPING, State.ENDED}]
    return dict(sorted(Counter(staying).items()))


def named(counts: Mapping[str, int]) -> str:
    """The same in words."""
    return ", ".join(f"{count} {role}" for role, count in counts.items()) or "nobody"


def find(state: Path) -> Standing | None:
    """The record of the folder `state`, whether or not its supervisor still lives."""
    try:
        return Standing.model_validate_json((state / "up.json").read_bytes())
    except (OSError, ValidationError):
        return None


def write(state: Path, standing: Standing) -> None:
    """Replace the record; a reader sees the old one or the new one."""
    fresh = state / "up.json.new"
    fresh.write_text(standing.model_dump_json(), encoding="utf-8")
    fresh.replace(state / "up.json")


def forget(state: Path) -> None:
    """Remove the record."""
    (state / "up.json").unlink(missing_ok=True)


def process(pid: int | None, created: float | None) -> psutil.Process | None:
    """The process recorded so, if it is still that one and alive."""
    if pid is None or created is None:
        return None
    try:
        found = psutil.Process(pid)
        same = abs(found.create_time() - created) < _SAME_START_SECONDS
        return found if same and found.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


@contextmanager
def alone(state: Path) -> Iterator[None]:
    """Be the one supervisor of the folder `state`. Raises `AlreadyUp`, and `FolderUnusable` where
    nothing can be written."""
    lock = FileLock(state / "up.lock")
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise _taken(state) from error
    except OSError as error:
        raise FolderUnusable(state, error.strerror or str(error)) from error
    try:
        yield
    finally:
        lock.release()


def _taken(state: Path) -> AlreadyUp:
    found = find(state)
    return AlreadyUp(str(state.parent), found.pid if found else None)
