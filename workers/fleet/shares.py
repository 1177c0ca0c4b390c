"""How many processes of each role each machine shall have: pure, and the same on every machine."""

from collections import Counter
from collections.abc import Mapping, Sequence

from workers.fleet.demand import Demand
from workers.fleet.machine import Machine

Held = Mapping[str, Mapping[str, int]]
"""Seats by role, then by machine."""

Shares = dict[str, dict[str, int]]
"""Processes by role, then by machine: those that have the code for it."""


def shares(demands: Mapping[str, Demand], machines: Sequence[Machine], held: Held) -> Shares:
    """Each role evenly over the machines that have its code, to within one; what is left over goes
    where least runs in all.

    A machine keeps what it has unless another one then runs fewer by more than one: nothing moves
    for the sake of one process, and nothing moves twice (`tests/fleet/test_shares.py`).
    """
    found: Shares = {}
    left: dict[str, int] = {}
    load: Counter[str] = Counter()
    for role, demand in demands.items():
        able = _able(role, machines, demand)
        mine = {m.name: demand.own[m.name] for m in machines if m.name in demand.own}
        rest = demand.total - sum(mine.values())
        each, left[role] = divmod(rest, len(able)) if able else (0, 0)
        found[role] = {**mine, **{machine.name: each for machine in able}}
        load.update(found[role])
    for role, demand in demands.items():
        able = _able(role, machines, demand)
        had = held.get(role, {})
        for name in _least_loaded(able, load, had, found[role])[: left[role]]:
            found[role][name] += 1
            load[name] += 1
    return found


def _able(role: str, machines: Sequence[Machine], demand: Demand) -> list[Machine]:
    return [m for m in machines if role in m.roles and m.name not in demand.own]


def _least_loaded(
    able: Sequence[Machine], load: Mapping[str, int], had: Mapping[str, int], has: Mapping[str, int]
) -> list[str]:
    """Who gets one more, first the one that should most. One that had it would have to stop a
    process: that counts as much as running one more elsewhere."""

    def worth(machine: Machine) -> tuple[int, bool, float, str]:
        name = machine.name
        keeps = had.get(name, 0) > has[name]
        return load[name] - keeps, not keeps, machine.since, name

    return [machine.name for machine in sorted(able, key=worth)]
