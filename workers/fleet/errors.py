"""What can go wrong while processes are kept alive."""

from workers.sdk.errors import WorkerError


class AlreadyUp(WorkerError):
    """A supervisor keeps the fleet of this folder alive already."""

    def __init__(self, folder: str, pid: int | None) -> None:
        super().__init__(
            f"muster is up already in {folder}",
            details=f"process {pid} keeps its workers alive" if pid else "it is just starting",
            actions=("see it: `muster ps`", "end it: `muster down`"),
        )
        self.pid = pid


class Forked(WorkerError):
    """A blocking connection was used in a process forked from the one that made it."""

    def __init__(self, pid: int) -> None:
        super().__init__(
            "this connection to the fleet belongs to another process",
            details=f"it was made in process {pid}, and its thread was not forked with it",
            actions=("connect after the fork, once in each process: `Fleet.connect_sync()`",),
        )


class NotReady(WorkerError):
    """Processes that were started are not ready in time; they are still being tried."""

    retryable = True


class RoleInUse(WorkerError):
    """A role that is to be retired has living workers, which would bind it again."""
