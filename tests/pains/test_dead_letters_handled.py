"""Pain 7: failed work vanishes, or dead letters cannot be handled. Here a person does it all."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from contracts.clock import SystemClock
from contracts.events import Kind
from contracts.outcomes import Reason
from knowledge.history.asking import DeathFilter
from knowledge.history.records import Death, Fate
from knowledge.history.states import State
from tests.brokers import Broker
from tests.cli.running import GREETER, Muster, worked
from workers.fleet.operator import whoami
from workers.fleet.options import Options
from workers.history.opening import open_history
from workers.settings import Loaded, load
from workers.wiring import Fleet, open_bus

pytestmark = [pytest.mark.slow]

HELLO = '{"name":"nobody"}'


@pytest.fixture
def muster(broker: Broker, tmp_path: Path) -> Iterator[Muster]:
    """The command in a folder whose worker rejects whom it does not know."""
    with worked(broker.url, tmp_path, "greeter", GREETER, drain="1") as made:
        yield made


@pytest.mark.promise(17)
def test_failed_work_is_kept_looked_at_replayed_thrice_and_purged(muster: Muster) -> None:
    """Nothing of it is lost on the way; a fourth replay of the same task has to be forced."""
    failed = muster("publish", "greeter.hello", HELLO, "--wait")
    assert failed.code == 1
    task = failed.err.splitlines()[0].split()[1]
    (letter,) = muster("dlq", "show", task, "--json").json
    assert (letter["body"], letter["reason"], letter["attempts"]) == (HELLO, "rejected", 1)
    assert "nobody is there" in letter["error"]
    for replays in (1, 2, 3):
        assert muster("dlq", "replay", "--all", "--role", "greeter").code == 0
        assert died_again(muster, task)["replays"] == replays
    refused = muster("dlq", "replay", task)
    assert (refused.code, "--force" in refused.lines[2]) == (5, True)
    assert [each["id"] for each in muster("dlq", "ls", "--json").json] == [task]
    assert muster("dlq", "replay", task, "--force").code == 0
    again = died_again(muster, task)
    assert (again["replays"], again["body"]) == (4, HELLO)
    assert muster("dlq", "purge", task).code == 0
    assert muster("dlq", "ls", "--json").json == []


def died_again(muster: Muster, task: str) -> dict[str, object]:
    """The letter of a task that was replayed, as soon as it is dead again."""
    while True:
        ended = muster("dlq", "show", task, "--json")
        if ended.code == 0 and ended.json[0]["state"] == "dead":
            return dict(ended.json[0])


@pytest.fixture
def kept(broker: Broker, history_url: str, tmp_path: Path) -> Iterator[Muster]:
    """The same, with a history."""
    with worked(broker.url, tmp_path, "greeter", GREETER, drain="1", history=history_url) as made:
        yield made


@pytest.mark.postgres
@pytest.mark.promise(17)
def test_dead_letters_are_edited_and_taken_by_filter_and_history_says_by_whom(
    kept: Muster,
) -> None:
    """Two of one tenant are replayed and die again, one is mended, one thrown away; whatever was
    done is done to those only that were meant, and can be read afterwards."""
    loaded = load(kept.folder, environment=kept.environment)
    ids = asyncio.run(died(loaded))
    assert {each["id"] for each in letters(kept).values()} == set(ids.values())
    chosen = ("--tenant", "acme", "--reason", "rejected", "--newer", "1h")
    before = letters(kept)
    assert kept("dlq", "replay", *chosen, "--dry-run").code == 0
    assert letters(kept) == before
    assert kept("dlq", "replay", *chosen).code == 0
    for name in ("first", "second"):
        again = died_again(kept, ids[name])
        assert (again["replays"], again["replayed_by"]) == (1, whoami())
    edited = kept("dlq", "edit", ids["mended"], "--payload", '{"name":"Ada"}', "--yes")
    assert edited.code == 0, edited.err
    assert kept("dlq", "purge", "--reason", "invalid", "--yes").code == 0
    assert set(letters(kept)) == {ids["first"], ids["second"]}
    found = asyncio.run(remembered(loaded, ids))
    assert found["first"] == found["second"] == [(Reason.REJECTED, Fate.REPLAYED, whoami()), OPEN]
    assert found["mended"] == [(Reason.REJECTED, Fate.EDITED, whoami())]
    assert [reason for reason, *_ in found["thrown"]] == [Reason.INVALID]


OPEN = (Reason.REJECTED, None, None)
"""A death on which nobody has decided."""


def letters(muster: Muster) -> dict[str, dict[str, object]]:
    """What `dlq ls` says, by id."""
    return {each["id"]: each for each in muster("dlq", "ls", "--json").json}


async def died(loaded: Loaded) -> dict[str, str]:
    """Tasks that are dead letters now: their ids."""
    work = {
        "first": ("acme", {"name": "nobody"}),
        "second": ("acme", {"name": "nobody"}),
        "mended": ("other", {"name": "nobody"}),
        "thrown": ("acme", {"nome": "nobody"}),
    }
    async with Fleet(await open_bus(loaded), SystemClock()) as fleet:
        ids = {}
        for name, (tenant, payload) in work.items():
            options = Options(tenant=tenant)
            (task,) = await fleet.publish_many([("greeter.x", payload)], options)
            await task.outcome(30)
            ids[name] = task.id
    return ids


async def remembered(
    loaded: Loaded, ids: Mapping[str, str]
) -> dict[str, list[tuple[Reason | str, Fate | None, str | None]]]:
    """What history says of each death, the first one first, once it has the end of all."""
    history = await open_history(loaded, SystemClock())
    try:
        end = time.monotonic() + 30
        while (await history.task(ids["mended"])).found[0].state is not State.SUCCEEDED:
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        (result,) = (await history.result(ids["mended"])).found
        assert result.payload == '{"name":"Ada"}'
        events = (await history.events(ids["mended"])).found
        (replayed,) = [event for event in events if event.kind is Kind.REPLAYED]
        assert replayed.data["by"] == whoami()
        found: dict[str, list[Death]] = {}
        for name, task in ids.items():
            page = await history.deaths(DeathFilter(task=task))
            found[name] = sorted(page.items, key=lambda death: death.copy)
    finally:
        await history.close()
    return {
        name: [(death.reason, death.fate, death.fate_by) for death in deaths]
        for name, deaths in found.items()
    }
