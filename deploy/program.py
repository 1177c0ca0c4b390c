"""What a server that can be embedded says of itself; `deploy.embedded` starts and ends it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from deploy import ports


@dataclass(frozen=True, slots=True)
class Place:
    """Where an embedded server has what is its own: `STATE/NAME/`."""

    folder: Path

    @property
    def config(self) -> Path:
        """The configuration that was written for it."""
        return self.folder / "server.conf"

    @property
    def log(self) -> Path:
        """What it says."""
        return self.folder / "server.log"

    @property
    def record(self) -> Path:
        """Which process was started."""
        return self.folder / "server.json"


@dataclass(frozen=True, slots=True)
class Launch:
    """How a server is started. `environment` None: with that of whoever starts it."""

    command: Sequence[str | Path]
    environment: Mapping[str, str] | None = None


class Program(ABC):
    """A server that is one process, started in its folder, which it never leaves.

    `name`: in errors; `folder`: below the state; `title`: for a person; `scheme`: of its address;
    `process`: what the system calls its process, from its start on; `patience`: seconds in which it
    has to answer.
    """

    name: str
    folder: str
    title: str
    scheme: str
    process: tuple[str, ...]
    patience = 30.0

    @abstractmethod
    def locate(self) -> object:
        """What is run. Raises `ServerMissing`."""

    @abstractmethod
    def release(self) -> str:
        """Of which release that is. Raises `ServerMissing`."""

    @abstractmethod
    def prepare(self, place: Place, port: int) -> Launch:
        """Write what it needs to listen on `port`, and only for this machine; how it is started.
        Raises `ServerMissing`, `ServerFailed`."""

    @abstractmethod
    def configured_port(self, place: Place) -> int | None:
        """The port that `prepare` last wrote; None if it never did."""

    @abstractmethod
    def version(self, place: Place, pid: int, *, timeout: float) -> str | None:
        """Which release answers there, ready for clients, as the process `pid`; None if none."""

    def url(self, port: int) -> str:
        """Where clients connect."""
        return f"{self.scheme}://{ports.LOOPBACK}:{port}"

    def is_ours(self, place: Place, process: psutil.Process) -> bool:
        """Whether a process is the server of this place: it works in its folder, which a re-used
        process id or a copied folder does not. Raises `psutil.Error`."""
        return process.name() in self.process and process.cwd() == str(place.folder)

    def clear_up(self, place: Place) -> None:  # noqa: ARG002 - most leave nothing
        """End what it leaves behind on this machine, once it has ended."""
        return
