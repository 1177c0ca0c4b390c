"""What a cancel has met: a task under way, one that had ended, or none."""

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from workers.cli.errors import NotFound
from workers.history.address import kept
from workers.settings import Loaded

if TYPE_CHECKING:
    from knowledge.history.history import History
    from knowledge.history.records import TaskRecord
    from knowledge.history.waiting import Looked

CANCELLED, ENDED = "cancelled", "ended before"

_UNSURE = "whether there is such a task is not known"


class Fates:
    """The history of a fleet, opened when it is first asked, and not asked again once it was away.
    Used as `async with`."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._history: History | None = None
        self._silent = "" if kept(loaded) else f"{_UNSURE}: no history is kept"

    async def of(self, task: str, began: float) -> tuple[str, str | None]:
        """What became of a cancel of `task` that began at this time, and what more there is to
        say. Where history cannot answer, the cancel counts. Raises `NotFound` where nothing that
        was accepted has this id."""
        from knowledge.database.errors import DatabaseError
        from knowledge.history.waiting import NoSuchTask, NotRecorded

        if self._silent:
            return CANCELLED, self._silent
        try:
            found = await self._look(task)
        except DatabaseError as error:
            self._silent = f"{_UNSURE}: {error.message}"
            return CANCELLED, self._silent
        if isinstance(found, NoSuchTask):
            raise _nothing(task)
        if isinstance(found, NotRecorded):
            return CANCELLED, f"{_UNSURE}: history is behind"
        ended = _ended(found.found, began)
        return (ENDED, ended) if ended else (CANCELLED, None)

    async def _look(self, task: str) -> "Looked":
        from contracts.clock import SystemClock
        from workers.history.opening import open_history

        if self._history is None:
            self._history = await open_history(self._loaded, SystemClock())
        return await self._history.look(task)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._history is not None:
            await self._history.close()


def _ended(tasks: "Sequence[TaskRecord]", began: float) -> str | None:
    """How it had ended in each role before the cancel, None while it had not in one."""
    if not all(task.finished and task.since < began for task in tasks):
        return None
    states = ", ".join(dict.fromkeys(str(task.state) for task in tasks))
    return f"{states}; its dead letter stays" if "failed" in states else states


def _nothing(task: str) -> NotFound:
    return NotFound(
        f"there is no task {task!r}",
        details="nothing accepted and still kept has this id; one that comes is stopped",
        actions=("see the last ones: `muster task ls`",),
    )
