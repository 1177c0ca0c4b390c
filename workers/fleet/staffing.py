"""What a fleet wants of each role, what it has, and why: as its machines tell it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bus.keyvalue.protocol import KeyValue
from workers.fleet import orders
from workers.fleet.demand import Demand, Wishes, demands
from workers.fleet.machine import Machine, Process, machines
from workers.fleet.presence import Alive
from workers.fleet.replicas import Range


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff:
    """One role. `wanted`: None where no machine is up and nobody decided. `ready` have a seat and
    work, `starting` have one and do not yet; `draining` have none any more, `beside` never had
    one: `muster work`. `where`: seats by machine."""

    role: str
    wanted: int | None
    replicas: int | Range | None
    ready: int
    starting: int
    draining: int
    beside: int
    where: Mapping[str, int]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """A process that dies again and again, and where. `again_at`: UTC epoch seconds."""

    role: str
    machine: str
    restarts: int
    exit_code: int | None
    again_at: float | None

    def __str__(self) -> str:
        times = "once" if self.restarts == 1 else f"{self.restarts} times"
        return f"{self.role} died {times}, last with exit code {self.exit_code}"


@dataclass(frozen=True, slots=True)
class Fleet:
    """The machines of a fleet and what people want of it, read once."""

    machines: Sequence[Machine]
    wishes: Wishes

    @classmethod
    async def read(cls, store: KeyValue) -> "Fleet":
        """As the store tells now. Raises what the store raises."""
        wishes = Wishes(await orders.orders(store), await orders.autos(store))
        return cls(await machines(store), wishes)

    def seats(self, role: str) -> int:
        """How many processes of a role have a seat."""
        every = [process for machine in self.machines for process in machine.processes]
        return sum(process.role == role and process.seat is not None for process in every)

    def crashes(self) -> list[Crash]:
        """Processes that died and have not been ready since, on all machines."""
        return [
            Crash(
                role=process.role,
                machine=machine.name,
                restarts=process.restarts,
                exit_code=process.exit_code,
                again_at=process.again_at,
            )
            for machine in self.machines
            for process in machine.processes
            if process.crashing
        ]

    def restarts(self) -> dict[tuple[str, int], int]:
        """How often each process that a machine keeps was started again, by host and pid."""
        return {
            (machine.host, process.pid): process.restarts
            for machine in self.machines
            for process in machine.processes
            if process.pid is not None
        }

    def staff(self, alive: Sequence[Alive]) -> list[Staff]:
        """Every role that is wanted, offered or worked on, by name."""
        wanted = demands(self.machines, self.wishes)
        kept = {(m.host, p.pid) for m in self.machines for p in m.processes}
        beside = Counter(one.role for one in alive if (one.host, one.pid) not in kept)
        names = sorted({*wanted, *beside})
        return [self._staff(name, wanted.get(name), beside[name]) for name in names]

    def _staff(self, role: str, demand: Demand | None, beside: int) -> Staff:
        mine = [(m.name, p) for m in self.machines for p in m.processes if p.role == role]
        seated = [(name, process) for name, process in mine if process.seat is not None]
        ready = sum(process.state == "ready" for _, process in seated)
        return Staff(
            role=role,
            wanted=demand.total if demand else None,
            replicas=demand.shared if demand else None,
            ready=ready,
            starting=len(seated) - ready,
            draining=sum(_drains(process) for _, process in mine),
            beside=beside,
            where=dict(Counter(name for name, _ in seated)),
            why=self._why(role, demand),
        )

    def _why(self, role: str, demand: Demand | None) -> str:
        if demand is None:
            return "started by `muster work`"
        if self.machines and not any(role in machine.roles for machine in self.machines):
            return f"{demand.why}; no machine has the code for it"
        return demand.why


def _drains(process: Process) -> bool:
    return process.seat is None and process.state == "stopping"
