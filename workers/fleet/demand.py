"""How many processes of each role a fleet wants now, and why: pure, and the same on every machine.

What somebody decided comes first (`muster scale`). Else each machine that was told `ROLE=N` runs
its N, and the others share what their settings say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from workers.fleet.machine import Machine
from workers.fleet.orders import Auto, Order
from workers.fleet.replicas import Range, strongest


@dataclass(frozen=True, slots=True)
class Demand:
    """`total` processes of a role. `own`: how many of them single machines were told to run; the
    rest is shared by those that were not. `shared`: what the rest is made from."""

    total: int
    shared: int | Range
    why: str
    own: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is known of the wishes of people and of the work, by role."""

    orders: Mapping[str, Order]
    autos: Mapping[str, Auto]


def demands(machines: Sequence[Machine], wishes: Wishes) -> dict[str, Demand]:
    """The demand of every role that somebody ordered or some machine has the code for."""
    roles = {role for machine in machines for role in machine.roles} | set(wishes.orders)
    return {role: _demand(role, machines, wishes) for role in sorted(roles)}


def _demand(role: str, machines: Sequence[Machine], wishes: Wishes) -> Demand:
    order, auto = wishes.orders.get(role), wishes.autos.get(role)
    if order is not None:
        return _of(order.replicas, auto, f"scaled by {order.by}")
    offers = {m.name: m.roles[role] for m in machines if role in m.roles}
    own = {name: offer.own for name, offer in offers.items() if offer.own is not None}
    shared = [offer.replicas for offer in offers.values() if offer.own is None]
    if not own:
        return _of(strongest(shared), auto, "settings")
    rest = _of(strongest(shared), auto, "settings") if shared else Demand(0, 0, "")
    told = f"{sum(own.values())} by `up {role}=N`"
    why = f"{told}, {rest.why}" if rest.total else told
    return Demand(sum(own.values()) + rest.total, rest.shared, why, own)


def _of(replicas: int | Range, auto: Auto | None, why: str) -> Demand:
    if not isinstance(replicas, Range):
        return Demand(replicas, replicas, why)
    if auto is None:
        return Demand(replicas.min, replicas, f"{why}: {replicas}")
    return Demand(replicas.clip(auto.wanted), replicas, f"{why}: {replicas}; {auto.why}")
