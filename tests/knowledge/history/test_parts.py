"""A batch of any size is recorded; the watermark moves when all of it is."""

import pytest

from contracts.events import Event, Kind
from knowledge.database.errors import Busy
from knowledge.history import recording
from knowledge.history.history import History
from tests.knowledge.history.telling import task_id, told


def _sizes(events: list[Event]) -> list[int]:
    parts = list(recording._parts(events))
    assert [e for part in parts for e in part] == events
    return [len(part) for part in parts]


def test_a_part_has_so_many_events_and_no_more() -> None:
    one = told(Kind.STARTED, "x")
    most = recording.EVENTS
    for count in (0, 1, most - 1, most, most + 1, 2 * most, 2 * most + 1):
        sizes = _sizes([one] * count)
        assert all(1 <= size <= most for size in sizes)
        assert len(sizes) == -(-count // most)


def test_a_part_is_cut_where_its_bodies_fill_it() -> None:
    large = told(Kind.SUCCEEDED, "x", payload="p" * (recording.BYTES // 3), result="1")
    assert _sizes([large] * 10) == [3, 3, 3, 1]
    assert _sizes([told(Kind.SUCCEEDED, "x", payload="p" * (3 * recording.BYTES))] * 2) == [1, 1]


async def test_many_events_are_recorded_with_what_no_table_can_hold_cut_out(
    history: History,
) -> None:
    task, most = task_id(), recording.EVENTS
    events = [told(Kind.PROGRESS, task, n / 100, number=n) for n in range(2 * most + 7)]
    events[most // 2] = events[most + 3] = told(Kind.STARTED, "a\x00b")
    now = (await history.watermark()).now
    recorded = await history.record(events, upto=now)
    assert (recorded.events, recorded.fresh, recorded.refused) == (len(events), len(events) - 2, 2)
    assert (await history.watermark()).upto == now


async def test_the_watermark_stays_when_a_part_fails(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, most = task_id(), recording.EVENTS
    events = [told(Kind.PROGRESS, task, n / 100, number=n) for n in range(2 * most + 7)]
    calls = 0
    write = recording._write

    async def fails_once(*given: object) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Busy("a lock is not given")
        return await write(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(recording, "_write", fails_once)
    now = (await history.watermark()).now
    with pytest.raises(Busy):
        await history.record(events, upto=now)
    assert (await history.watermark()).upto == 0.0
    await history.record(events, upto=now)
    assert (await history.watermark()).upto == now
