"""Why a folder is not opened, a store has stopped, a peer or a backup is not believed."""

from collections.abc import Sequence
from pathlib import Path

from consensus.raft.types import NodeId
from contracts.errors import MusterError

_REPLACE = (
    "replace this node under a new id, in a new folder: `muster ledger members replace`",
    "keep this folder as it is for whoever looks into it",
)


class Broken(ValueError):
    """Bytes that are not those that were written; says which. Told as `Damaged`."""


class UnknownFormat(Exception):
    """Whole bytes in a form this version does not know. Told as `Newer`."""


class StorageError(MusterError):
    """Anything that goes wrong with what a node keeps on disk."""


class Refused(StorageError):
    """A folder that is not opened. Nothing in it was changed."""

    def __init__(self, folder: Path, details: str, actions: Sequence[str] = _REPLACE) -> None:
        super().__init__(
            f"the ledger in {folder} is not opened", details=details, actions=tuple(actions)
        )
        self.folder = folder


class Damaged(Refused):
    """Bytes that are not those that were written. To go on without them could lose an entry this
    node acknowledged, or a vote it gave: its id must not come back."""


class WentBack(Refused):
    """A folder that holds less than this node made durable in it: an older copy, or one that lost
    a file. Its id could vote twice: it must not come back."""


class Newer(Refused):
    """A folder that a newer version of muster wrote, whole as far as this one can tell."""

    def __init__(self, folder: Path, details: str) -> None:
        super().__init__(folder, details, ("start it with the version that wrote it, or a newer",))


class Foreign(Refused):
    """The folder of another node or cluster."""

    def __init__(self, folder: Path, details: str) -> None:
        super().__init__(folder, details, ("let each node use the folder that was made for it",))


class NotBegun(Refused):
    """A folder without a ledger and without a record that says whose it will be."""

    def __init__(self, folder: Path, details: str) -> None:
        super().__init__(
            folder,
            details,
            (
                "if this node ran before, find its folder: it was moved, or is not mounted",
                _REPLACE[0],
                "if it never ran, make it anew under an id of its own",
            ),
        )


class Unreadable(Refused):
    """The system does not let the folder be read or written. What is in it may be whole."""

    def __init__(self, folder: Path, details: str) -> None:
        super().__init__(
            folder,
            details,
            (
                "see to the disk and the permissions of the folder, then start the node again",
                f"where both are in order its files are damaged: {_REPLACE[0]}",
            ),
        )


class InUse(Refused):
    """Another process has the folder open."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder,
            "another process works with it",
            ("end that process first", "let each node use a folder of its own"),
        )


class Stopped(StorageError):
    """A write or a flush failed, or was asked for what must never be: this store does nothing any
    more. What was not acknowledged may or may not be on disk; only a new start can tell. Nothing
    is tried again: after a failed flush the system may report success for what it has dropped."""

    def __init__(self, doing: str, cause: BaseException) -> None:
        super().__init__(
            f"this node stops: it could not {doing}",
            details=f"{type(cause).__name__}: {cause}",
            actions=(
                "see to the disk: its room, its health, the system's log",
                "start the node again: it takes up what it finds, or says why it cannot",
            ),
        )


class PeerWentBack(StorageError):
    """A node that comes back with less than it had made durable when it was heard last."""

    def __init__(self, node: NodeId, seen: int, now: int) -> None:
        super().__init__(
            f"node {node} is not believed: it has forgotten what it knew",
            details=f"it had made {seen} transactions durable, and comes back with {now}",
            actions=("replace that node under a new id: `muster ledger members replace`",),
        )
        self.node = node


class BackupRefused(StorageError):
    """A backup that is not written, or not restored in this way."""

    def __init__(self, details: str, actions: Sequence[str]) -> None:
        super().__init__(
            "the backup of a ledger is not used like that", details=details, actions=tuple(actions)
        )
