"""The property of `test_orders` is one that can fail: each broken statement is found by it."""

import pytest
from hypothesis import Phase, find, settings

from knowledge.database.statements import statement
from tests.knowledge.history.model import Model
from tests.knowledge.history.test_orders import Telling, opened, tellings

SABOTAGE = {
    "an end is undone by what comes later": (
        "tasks",
        "> (t.copy, t.step, t.since, t.told)",
        "IS DISTINCT FROM (t.copy, t.step, t.since, t.told)",
    ),
    "the fence is not looked at": (
        "tasks",
        "> (t.copy, t.step, t.since, t.told)",
        "IS NOT NULL AND excluded.since > t.since",
    ),
    "of a batch the first counts": ("tasks", "copy DESC, step DESC, at DESC", "copy, step, at"),
    "an earlier result of a copy replaces a later one": (
        "results",
        "(excluded.at, excluded.told) > (r.at, r.told)",
        "true",
    ),
    "a run is told by its first event only": (
        "runs",
        "WHERE (excluded.step, excluded.at, excluded.told) > (r.step, r.at, r.told)\n    OR",
        "WHERE",
    ),
    "what somebody has taken goes on waiting": ("tasks", "role <> ''", "false"),
    "a publication that is told late waits again": (
        "published",
        "priority = excluded.priority,",
        "priority = excluded.priority, state = 'waiting',",
    ),
    "usage counts what was counted": (
        "events",
        "FROM fresh\n    WHERE",
        "FROM incoming\n    WHERE",
    ),
}


@pytest.mark.parametrize("name", SABOTAGE)
def test_a_broken_statement_is_found(
    history_url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    which, good, bad = SABOTAGE[name]

    def broken(package: str, wanted: str) -> str:
        text = statement(package, wanted)
        if wanted != which:
            return text
        assert good in text
        return text.replace(good, bad)

    monkeypatch.setattr("knowledge.history.recording.statement", broken)
    few = settings(max_examples=500, phases=[Phase.generate], database=None)
    with opened(history_url) as tell:

        def differs(telling: Telling) -> bool:
            events, batches = telling
            model = Model(events)
            return tell(batches, False) != (model.roles(), model.usage())

        find(tellings(), differs, settings=few)
