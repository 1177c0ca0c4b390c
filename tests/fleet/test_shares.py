"""Who shall run how many: evenly, never more than wanted, and nothing moves without need."""

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from workers.fleet.demand import Demand, Wishes, demands
from workers.fleet.machine import Machine, Offer
from workers.fleet.orders import Auto, Order
from workers.fleet.replicas import Range
from workers.fleet.seating import Hall, moves
from workers.fleet.shares import Shares, shares

ROLES = ("a", "b", "c", "d", "e", "f")
NOTHING = Wishes({}, {})


def machine(name: str, since: float = 0.0, **own: int | None) -> Machine:
    """One with the code for all roles, unless some are named; `own`: as by `up ROLE=N`."""
    roles = {role: Offer(1, n) for role, n in own.items()} or {role: Offer(1) for role in ROLES}
    return Machine(name=name, host="h", pid=1, folder="/", since=since, at=0.0, roles=roles)


def wanted(**totals: int) -> dict[str, Demand]:
    return {role: Demand(total, total, "") for role, total in totals.items()}


def held(found: Shares) -> Mapping[str, Mapping[str, int]]:
    return found


def test_one_machine_runs_everything() -> None:
    assert shares(wanted(a=3, b=0), [machine("m")], {}) == {"a": {"m": 3}, "b": {"m": 0}}


def test_a_role_is_shared_evenly() -> None:
    found = shares(wanted(a=7), [machine("m"), machine("n"), machine("o")], {})
    assert sorted(found["a"].values()) == [2, 2, 3]


def test_single_processes_of_many_roles_are_spread() -> None:
    every = dict.fromkeys(ROLES, 1)
    alone = shares(wanted(**every), [machine("m")], {})
    both = shares(wanted(**every), [machine("m"), machine("n", 1.0)], alone)
    loads = [sum(of[name] for of in both.values()) for name in ("m", "n")]
    assert loads == [4, 2]


def test_a_machine_without_the_code_gets_nothing() -> None:
    found = shares(wanted(a=4, b=2), [machine("m", a=None), machine("n", a=None, b=None)], {})
    assert found["a"] == {"m": 2, "n": 2}
    assert found["b"] == {"n": 2}


def test_a_role_nobody_has_is_nobodys() -> None:
    assert shares(wanted(z=4), [machine("m")], {}) == {"z": {}}


@given(
    totals=st.lists(st.integers(0, 12), min_size=6, max_size=6),
    count=st.integers(1, 5),
    before=st.integers(1, 5),
)
def test_shares_are_even_complete_and_final(totals: list[int], count: int, before: int) -> None:
    """Over any change of the number of machines: nothing moves once everybody has its share."""
    every = wanted(**dict(zip(ROLES, totals, strict=True)))
    had = shares(every, [machine(f"m{n}", n) for n in range(before)], {})
    machines = [machine(f"m{n}", n) for n in range(count)]
    living = {one.name for one in machines}
    now = {role: {n: k for n, k in of.items() if n in living} for role, of in had.items()}
    found = shares(every, machines, now)
    assert found == shares(every, machines[::-1], now)
    assert found == shares(every, machines, held(found))
    for role, total in zip(ROLES, totals, strict=True):
        assert sum(found[role].values()) == total
        assert max(found[role].values()) - min(found[role].values()) <= 1
    loads = [sum(of[name] for of in found.values()) for name in living]
    assert max(loads) - min(loads) <= 2


@given(totals=st.lists(st.integers(0, 12), min_size=6, max_size=6), more=st.integers(0, 5))
def test_one_process_more_moves_no_other(totals: list[int], more: int) -> None:
    """Scaling a role leaves every other one where it is."""
    machines = [machine(f"m{n}", n) for n in range(3)]
    counts = dict(zip(ROLES, totals, strict=True))
    before = shares(wanted(**counts), machines, {})
    before = shares(wanted(**counts), machines, before)
    counts[ROLES[more]] += 1
    after = shares(wanted(**counts), machines, before)
    lost = sum(
        max(0, before[role][one.name] - after[role][one.name]) for role in ROLES for one in machines
    )
    assert lost <= 1


def test_up_with_a_number_runs_it_here_until_somebody_scales() -> None:
    machines = [machine("m", a=3), machine("n", a=1)]
    every = demands(machines, NOTHING)
    assert every["a"].total == 4
    assert shares(every, machines, {}) == {"a": {"m": 3, "n": 1}}
    scaled = demands(machines, Wishes({"a": Order(6, "ada@h", 0.0)}, {}))
    assert shares(scaled, machines, {}) == {"a": {"m": 3, "n": 3}}


def test_machines_without_a_number_share_what_the_settings_say() -> None:
    machines = [machine("m", a=3), machine("n", a=None), machine("o", a=None)]
    every = demands(machines, NOTHING)
    assert every["a"].total == 4
    found = shares(every, machines, {})["a"]
    assert found["m"] == 3
    assert sorted([found["n"], found["o"]]) == [0, 1]


def test_a_range_follows_the_work_within_its_limits() -> None:
    order = Order(Range(min=2, max=5), "ada@h", 0.0)
    for asked, total in ((0, 2), (4, 4), (9, 5)):
        wishes = Wishes({"a": order}, {"a": Auto(asked, "why", 0.0)})
        assert demands([machine("m")], wishes)["a"].total == total
    assert demands([machine("m")], Wishes({"a": order}, {}))["a"].total == 2


def test_machines_that_were_told_different_things_agree() -> None:
    def told(name: str, replicas: int | Range) -> Machine:
        return replace(machine(name), roles={"a": Offer(replicas)})

    machines = [told("m", 2), told("n", 5)]
    assert demands(machines, NOTHING)["a"].total == 5
    assert demands([*machines, told("o", Range(max=3))], NOTHING)["a"].shared == Range(max=3)


def test_what_is_beyond_goes_first_and_the_rest_when_it_has_lasted() -> None:
    hall = Hall(total=2, taken={0, 2, 3}, mine=[0, 2, 3])
    assert moves(hall, 1, settled=False).give == (3, 2)
    assert moves(hall, 0, settled=False).give == (3, 2)
    assert moves(hall, 0, settled=False).surplus
    assert moves(hall, 0, settled=True).give == (3, 2, 0)


def test_a_process_stays_when_only_its_number_goes() -> None:
    plan = moves(Hall(total=2, taken={0, 5}, mine=[5]), 1, settled=False)
    assert (plan.give, plan.renumber, plan.take) == ((), ((5, 1),), ())


@given(
    total=st.integers(0, 10),
    mine=st.sets(st.integers(0, 12)),
    others=st.sets(st.integers(0, 12)),
    share=st.integers(0, 10),
    settled=st.booleans(),
)
def test_moves_take_only_what_is_free_and_keep_within_the_share(
    total: int, mine: set[int], others: set[int], share: int, settled: bool
) -> None:
    others -= mine
    plan = moves(Hall(total, mine | others, sorted(mine)), share, settled=settled)
    fresh = [*plan.take, *(new for _, new in plan.renumber)]
    assert len(set(fresh)) == len(fresh)
    assert all(0 <= seat < total and seat not in mine | others for seat in fresh)
    assert set(plan.give) <= mine
    left = len(mine) - len(plan.give) + len(plan.take)
    assert left <= max(share, len(mine) - len(plan.give))
    if settled:
        assert len(mine) - len(plan.give) == min(len(mine), share)
