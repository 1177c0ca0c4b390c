"""What operators did and decided is kept with who, when and on what."""

import pytest

from contracts.events import Kind
from contracts.outcomes import Reason
from knowledge.history.asking import DeathFilter
from knowledge.history.history import History
from knowledge.history.records import Fate
from tests.knowledge.history.telling import T0, task_id, told


async def test_what_was_done_is_listed_last_first(history: History) -> None:
    numbers = [
        await history.note("pause", "ada@desk", "writer", {"for": 60, "why": ["x\x00", "é"]}),
        await history.note("scale", "bob@desk", "writer", outcome="refused"),
    ]
    page = await history.audit()
    assert [d.id for d in page.items] == numbers[::-1]
    scale, pause = page.items
    assert (pause.action, pause.by, pause.target) == ("pause", "ada@desk", "writer")
    assert pause.details == {"for": 60, "why": ["x\x00", "é"]}
    assert (scale.details, scale.outcome) == (None, "refused")
    assert scale.at >= pause.at > T0


async def test_deeds_are_found_by_who_did_what_to_what(history: History) -> None:
    await history.note("pause", "ada", "writer")
    await history.note("pause", "bob", "checker")
    await history.note("resume", "ada", "checker")
    assert [d.action for d in (await history.audit(by="ada")).items] == ["resume", "pause"]
    assert [d.by for d in (await history.audit(action="pause")).items] == ["bob", "ada"]
    assert [d.by for d in (await history.audit(target="checker")).items] == ["ada", "bob"]
    assert (await history.audit(until=T0)).items == []


async def test_deeds_come_in_pages(history: History) -> None:
    numbers = [await history.note("pause", "ada", f"role-{n}") for n in range(5)]
    first = await history.audit(limit=3)
    second = await history.audit(limit=3, after=first.after)
    assert [d.id for d in [*first.items, *second.items]] == numbers[::-1]
    assert second.after is None


@pytest.mark.parametrize("details", [float("nan"), "\ud800", {"\ud800": 1}, object(), b"\xff"])
async def test_details_of_any_kind_are_noted(history: History, details: object) -> None:
    assert await history.note("edit\x00", "a\ud800", "x", details)
    assert len((await history.audit()).items) == 1


async def test_a_death_tells_why_and_what_was_decided(history: History) -> None:
    task = task_id()
    await history.record(
        [told(Kind.FAILED, task, 5, copy=2, attempt=3, reason="timeout", error="too slow")]
    )
    [death] = (await history.deaths()).items
    assert (death.reason, death.error, death.attempts) == (Reason.TIMEOUT, "too slow", 3)
    assert death.fate is None
    assert await history.decide(task, "writer", Fate.PURGED, by="ada@desk", details="old")
    [death] = (await history.deaths()).items
    assert (death.fate, death.fate_by) == (Fate.PURGED, "ada@desk")
    [deed] = (await history.audit()).items
    assert (deed.action, deed.target, deed.details) == ("purged", f"writer/{task}", "old")


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


async def test_a_decision_comes_before_its_death_is_recorded(history: History) -> None:
    assert not await history.decide("unknown", "writer", Fate.PURGED, by="ada")
    assert len((await history.audit()).items) == 1


async def test_an_edit_stays_an_edit_when_its_replay_is_told(history: History) -> None:
    task = task_id()
    await history.record([told(Kind.FAILED, task, 1, reason="invalid")])
    await history.decide(task, "writer", Fate.EDITED, by="ada")
    await history.record([told(Kind.REPLAYED, task, 2, copy=1, by="bob")])
    [death] = (await history.deaths()).items
    assert (death.fate, death.fate_by, death.replays) == (Fate.EDITED, "ada", 1)


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
