"""What operators did and decided is kept with who, when and on what."""

import asyncio
import secrets
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from contracts.deeds import Action, Deed, Scope
from contracts.events import Kind
from contracts.outcomes import Reason
from knowledge.history.asking import DeathFilter
from knowledge.history.deeds import DeedFilter
from knowledge.history.history import History
from knowledge.history.records import Fate
from tests.knowledge.history.telling import T0, task_id, told


def deed(action: Action, target: str = "writer", at: float = 0.0, **said: Any) -> Deed:
    """Something done `at` seconds after `T0`."""
    given = {"by": "ada@desk", "scope": Scope.ROLE, "role": target, **said}
    return Deed(id=secrets.token_hex(8), at=T0 + at, action=action, target=target, **given)


def to_letter(action: Action, task: str, copy: int = 0, **said: Any) -> Deed:
    """Something done to a dead letter of `writer`."""
    return deed(action, "", scope=Scope.LETTERS, **said).to(task, "writer", copy)


async def test_what_was_done_is_listed_last_first(history: History) -> None:
    details = {"for": 60, "why": ["x\x00", "é"]}
    await history.record(
        [],
        done=[
            deed(Action.SCALE, at=9.0, by="bob@desk", before="2", after="auto:1..8", count=3),
            deed(Action.PAUSE, at=5.0, data=details),
        ],
    )
    scale, pause = (await history.audit()).items
    assert (pause.action, pause.by, pause.scope, pause.target) == (
        *("pause", "ada@desk", "role"),
        "writer",
    )
    assert (pause.at, pause.details, pause.outcome) == (T0 + 5.0, details, "done")
    assert (scale.before, scale.after, scale.count) == ("2", "auto:1..8", 3)


async def test_a_deed_is_kept_once_however_it_is_told(history: History) -> None:
    """Again, in parts, in any order, by several at once."""
    whole = to_letter(Action.REPLAY, "t0")
    parts = [whole.to(f"t{n}", "writer", 0) for n in range(50)]
    tellings = [Random(n).sample(parts, 50) for n in range(6)]
    kept = await asyncio.gather(*(history.record([], done=told) for told in tellings))
    assert sum(each.fresh for each in kept) == 1
    [found] = (await history.audit()).items
    assert (found.count, found.role, found.tasks[:2]) == (50, "writer", ("t0", "t1"))
    assert (await history.record([], done=[whole])).fresh == 0


async def test_deeds_are_found_by_who_did_what_to_what(history: History) -> None:
    done = [
        deed(Action.PAUSE, at=1, by="ada@desk"),
        deed(Action.PAUSE, "checker", at=2, by="bob@desk"),
        deed(Action.RESUME, "checker", at=3, by="ada@sofa"),
        to_letter(Action.PURGE, "t1", at=4, by="eve@desk"),
    ]
    await history.record([], done=done)
    for f, wanted in (
        (DeedFilter(by="ada"), ["resume", "pause"]),
        (DeedFilter(by="ada@desk"), ["pause"]),
        (DeedFilter(action="pause"), ["pause", "pause"]),
        (DeedFilter(action="dlq"), ["dlq purge"]),
        (DeedFilter(role="checker"), ["resume", "pause"]),
        (DeedFilter(role="writer"), ["dlq purge", "pause"]),
        (DeedFilter(task="t1"), ["dlq purge"]),
        (DeedFilter(since=T0 + 2, until=T0 + 4), ["resume", "pause"]),
        (DeedFilter(until=T0), []),
    ):
        assert [d.action for d in (await history.audit(f)).items] == wanted, f


async def test_deeds_come_in_pages(history: History) -> None:
    done = [deed(Action.PAUSE, f"role-{n}", at=n // 2) for n in range(5)]
    await history.record([], done=done)
    first = await history.audit(limit=3)
    second = await history.audit(limit=3, after=first.after)
    targets = [d.target for d in [*first.items, *second.items]]
    assert targets == [f"role-{n}" for n in (4, 3, 2, 1, 0)]
    assert second.after is None


@pytest.mark.parametrize("odd", [float("nan"), "\ud800", {"\ud800": 1}, object(), b"\xff"])
async def test_whatever_is_told_of_a_deed_it_is_kept(history: History, odd: object) -> None:
    """And keeps no other from being kept."""
    names = deed(Action.EDIT, "a\x00\ud800", by="\ud800", before="\x00", count=2**70)
    names = names.to("\x00", "\ud800", 2**40)
    found = await history.record([], done=[names, deed(Action.EDIT, at=1e300, data={"x": odd})])
    assert (found.fresh, found.refused) == (2, 0)
    assert len((await history.audit()).items) == 2


async def test_a_deed_no_index_holds_is_refused_alone(history: History) -> None:
    huge = replace(deed(Action.PAUSE), id=secrets.token_hex(20_000))
    found = await history.record([], done=[deed(Action.PAUSE), huge, deed(Action.RESUME)])
    assert (found.events, found.fresh, found.refused) == (3, 2, 1)


async def test_the_deeds_that_concern_a_task_are_told(history: History) -> None:
    """Done to itself, or to all of its role, tenant, subjects or fleet while it had not ended."""
    task = task_id()
    await history.record(
        [
            told(Kind.PUBLISHED, task, tenant="acme", subjects=["ada"]),
            told(Kind.CANCELLED, task, 50.0, tenant="acme"),
        ],
        done=[
            deed(Action.PAUSE, at=-1),
            deed(Action.PAUSE, at=10),
            deed(Action.PAUSE, "checker", at=11),
            deed(Action.SCALE, at=12),
            deed(Action.CANCEL, "acme", at=13, scope=Scope.TENANT, role=""),
            deed(Action.CANCEL, "ada", at=14, scope=Scope.SUBJECT, role=""),
            deed(Action.CANCEL, "", at=15, scope=Scope.FLEET, role=""),
            deed(Action.EMPTY, at=60),
            to_letter(Action.PURGE, task, at=70),
            to_letter(Action.PURGE, task_id(), at=71),
        ],
    )
    found = await history.deeds((await history.task(task)).found)
    assert [d.at - T0 for d in found] == [10, 13, 14, 15, 70]


async def test_a_death_tells_why_and_what_was_decided(history: History) -> None:
    task = task_id()
    await history.record(
        [told(Kind.FAILED, task, 5, copy=2, attempt=3, reason="timeout", error="too slow")]
    )
    [death] = (await history.deaths()).items
    assert (death.reason, death.error, death.attempts) == (Reason.TIMEOUT, "too slow", 3)
    assert death.fate is None
    await history.record([], done=[to_letter(Action.PURGE, task, 2, at=9)])
    [death] = (await history.deaths()).items
    assert (death.fate, death.fate_by, death.fate_at) == (Fate.PURGED, "ada@desk", T0 + 9)
    assert (await history.deaths(DeathFilter(open=True))).items == []


async def test_each_death_of_a_task_is_kept(history: History) -> None:
    task = task_id()
    for copy in (0, 1, 2):
        await history.record(
            [
                told(Kind.FAILED, task, copy, copy=copy, reason="rejected"),
                told(Kind.REPLAYED, task, copy + 0.5, copy=copy + 1, by="ada"),
            ]
        )
    deaths = (await history.deaths(DeathFilter(task=task))).items
    assert [d.copy for d in deaths] == [2, 1, 0]
    assert [d.replays for d in deaths] == [3, 3, 3]
    assert (await history.deaths(DeathFilter(open=True))).items == []


async def test_a_decision_may_be_recorded_before_its_death(history: History) -> None:
    task = task_id()
    await history.record([], done=[to_letter(Action.PURGE, task)])
    assert (await history.deaths()).items == []
    await history.record([told(Kind.FAILED, task, 1, reason="invalid")])
    [death] = (await history.deaths()).items
    assert death.fate is Fate.PURGED


async def test_a_decision_counts_for_the_death_it_was_about(history: History) -> None:
    task = task_id()
    await history.record(
        [told(Kind.FAILED, task, copy, copy=copy, reason="crash") for copy in (0, 1)],
        done=[to_letter(Action.PURGE, task, 1)],
    )
    assert [d.fate for d in (await history.deaths()).items] == [Fate.PURGED, None]


async def test_an_edit_stays_an_edit_when_its_replay_is_told(history: History) -> None:
    task = task_id()
    await history.record([told(Kind.FAILED, task, 1, reason="invalid")])
    await history.record(
        [told(Kind.REPLAYED, task, 2, copy=1, by="bob")],
        done=[to_letter(Action.EDIT, task), to_letter(Action.REPLAY, task, by="bob")],
    )
    [death] = (await history.deaths()).items
    assert (death.fate, death.fate_by, death.replays) == (Fate.EDITED, "ada@desk", 1)


async def test_deaths_are_found_by_reason_age_and_text(history: History) -> None:
    crash, slow = task_id(), task_id()
    await history.record(
        [
            told(Kind.FAILED, crash, 1, reason="crash", error="signal 9", tenant="acme"),
            told(Kind.FAILED, slow, 2, reason="timeout", error="too slow", role="checker"),
        ]
    )
    for f in (
        DeathFilter(reason="crash"),
        DeathFilter(tenant="acme"),
        DeathFilter(role="writer"),
        DeathFilter(until=T0 + 2),
        DeathFilter(text="SIGNAL"),
    ):
        assert [d.task for d in (await history.deaths(f)).items] == [crash]
    assert [d.task for d in (await history.deaths(DeathFilter(since=T0 + 2))).items] == [slow]


async def test_deaths_come_in_pages(history: History) -> None:
    tasks = [task_id() for _ in range(5)]
    await history.record([told(Kind.FAILED, task, reason="crash") for task in tasks])
    first = await history.deaths(limit=3)
    second = await history.deaths(limit=3, after=first.after)
    assert sorted(d.task for d in [*first.items, *second.items]) == sorted(tasks)
    assert second.after is None


async def test_a_reason_of_a_later_release_is_told_as_it_is(history: History) -> None:
    await history.record([told(Kind.FAILED, task_id(), reason="meteor")])
    [death] = (await history.deaths()).items
    assert death.reason == "meteor"
