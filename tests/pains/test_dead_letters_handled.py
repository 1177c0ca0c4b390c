"""Pain 7: failed work vanishes, or dead letters cannot be handled. Here a person does it all."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import GREETER, Muster, worked
from tests.servers import NatsServer

pytestmark = [pytest.mark.nats, pytest.mark.slow]

HELLO = '{"name":"nobody"}'


@pytest.fixture
def muster(nats_server: NatsServer, tmp_path: Path) -> Iterator[Muster]:
    """The command in a folder whose worker rejects whom it does not know."""
    with worked(nats_server.url, tmp_path, "greeter", GREETER, drain="1") as made:
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
