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


class NotReady(WorkerError):
    """Processes that were started are not ready in time; they are still being tried."""

    retryable = True


class RoleInUse(WorkerError):
    """A role that is to be retired has living workers, which would bind it again."""
