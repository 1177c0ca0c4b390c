"""What can go wrong with the services this machine runs for the fleet."""

from collections.abc import Sequence
from pathlib import Path

from contracts.errors import MusterError


class DeployError(MusterError):
    """An embedded service cannot be had, started or stopped."""


class ServerMissing(DeployError):
    """The program of a server is not on this machine, or only in a release that is too old."""

    def __init__(
        self,
        program: str,
        reason: str,
        *,
        setting: str = "bus.url",
        install: str = "run `make venv` again",
    ) -> None:
        super().__init__(
            f"the server {program} was not found",
            details=reason,
            actions=(f"{install}, or set {setting} to a server that runs already",),
        )
        self.program = program


class PortTaken(DeployError):
    """The port asked for belongs to another program; `owner` names it where the system tells."""

    def __init__(self, port: int, owner: str) -> None:
        super().__init__(
            f"port {port} is in use",
            details=f"{owner} listens on 127.0.0.1:{port}",
            actions=("choose another port, or stop that program",),
        )
        self.port = port
        self.owner = owner


class AlreadyRunning(DeployError):
    """The server of this folder runs on another port than the one asked for."""

    def __init__(self, program: str, running_port: int, asked_port: int) -> None:
        super().__init__(
            f"{program} runs already on port {running_port}",
            details=f"port {asked_port} was asked for, and a folder has one server",
            actions=("use it where it is, or stop it with `muster down` first",),
        )
        self.port = running_port


class ServerFailed(DeployError):
    """A server ended or stayed silent while it was started or stopped; `tail` ends its log."""

    def __init__(self, program: str, reason: str, log: Path, tail: Sequence[str]) -> None:
        last = tail[-1] if tail else "its log is empty"
        super().__init__(
            f"{program} failed: {reason}",
            details=last,
            actions=(f"read {log}",),
        )
        self.log = log
        self.tail = tuple(tail)


class FolderUnusable(DeployError):
    """The folder for a server's state cannot be made or written to."""

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(
            f"the folder {folder} cannot be used",
            details=reason,
            actions=("run muster where you may write",),
        )
        self.folder = folder


class OtherVersion(DeployError):
    """A data folder that was written by another major version than the one at hand."""

    def __init__(self, program: str, folder: Path, *, found: str, ours: str) -> None:
        super().__init__(
            f"the data in {folder} are of {program} {found}, this is {program} {ours}",
            details="a server reads the data of its own major version only",
            actions=(
                f"set history.url to a {program} {found} that serves them",
                "or move the folder away, and a new one is begun",
            ),
        )


class NoAccount(DeployError):
    """A server that refuses the administrator has no other account to run as."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"there is no account {name} to run PostgreSQL as",
            details=f"it refuses to run as root; {reason}",
            actions=(
                f"make it: `useradd --system {name}`",
                "or run muster as an ordinary user, or set history.url",
            ),
        )


class Busy(DeployError):
    """Another process starts or stops the same server and has not finished in time."""

    retryable = True

    def __init__(self, program: str, folder: Path, waited: float) -> None:
        super().__init__(
            f"{program} is being started or stopped by another process",
            details=f"the lock in {folder} was not free within {waited:g} s",
            actions=("try again in a moment",),
            retry_after=1.0,
        )
