"""What the supervisors of a fleet tell each other: who is there, and what it was told to run."""

import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from bus.keyvalue import keys
from bus.keyvalue.paging import entries
from bus.keyvalue.protocol import KeyValue
from workers.fleet.replicas import Range, Replicas


@dataclass(frozen=True, slots=True)
class Offer:
    """A role that a machine has the code for. `replicas`: what its settings want in the fleet.
    `own`: what its command line wants on this machine, until somebody scales the role."""

    replicas: Replicas = 1
    own: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process that a machine keeps alive; see `workers.fleet.seat.Info`. `seat` is None once
    it drains; `again_at`: when it is started again after a death. Times are UTC epoch seconds."""

    role: str
    seat: int | None
    pid: int | None
    state: str
    since: float
    restarts: int
    exit_code: int | None
    again_at: float | None

    @property
    def crashing(self) -> bool:
        """Whether it died and has not been ready since."""
        return bool(self.restarts) and self.state in {"waiting", "starting"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One `muster up`. `name` is of this run of it; `since` and `at` are UTC epoch seconds."""

    name: str
    host: str
    pid: int
    folder: str
    since: float
    at: float
    roles: Mapping[str, Offer] = field(default_factory=dict)
    processes: tuple[Process, ...] = ()

    @classmethod
    def here(cls, folder: str, roles: Mapping[str, Offer], now: float) -> "Machine":
        """This process, as a machine with a name of its own."""
        host = socket.gethostname()
        return cls(
            name=f"{host.replace('/', '-')}-{secrets.token_hex(4)}",
            host=host,
            pid=os.getpid(),
            folder=folder,
            since=now,
            at=now,
            roles=roles,
        )


_MACHINE = TypeAdapter(Machine)


def encode(machine: Machine) -> bytes:
    """As it is kept in the store."""
    return to_json(asdict(machine))


def decode(value: bytes) -> Machine | None:
    """None for what a foreign hand has put there."""
    try:
        return _MACHINE.validate_python(from_json(value))
    except (ValidationError, ValueError):
        return None


async def machines(store: KeyValue) -> list[Machine]:
    """The supervisors that live, by name."""
    found = [decode(entry.value) async for entry in entries(store, keys.machine())]
    return [machine for machine in found if machine is not None]


__all__ = ["Machine", "Offer", "Process", "Range", "decode", "encode", "machines"]
