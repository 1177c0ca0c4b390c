"""Which servers the settings leave to a folder."""

from pathlib import Path

import pytest

from workers import own_broker, reporting
from workers.bus_address import checked
from workers.cli import services
from workers.settings import SettingsError, load

DATABASE = "postgresql://ada@db/muster"


@pytest.mark.parametrize(
    ("settings", "bus", "others"),
    [
        ({}, "nats", ["history"]),
        ({"BUS_URL": "redis"}, "redis", ["history"]),
        ({"BUS_URL": "redis", "HISTORY_URL": "none"}, "redis", []),
        ({"BUS_URL": "kafka", "HISTORY_URL": "none"}, "kafka", ["database"]),
        ({"BUS_URL": "kafka", "HISTORY_URL": "none", "BUS_DATABASE": DATABASE}, "kafka", []),
        ({"BUS_URL": "rabbitmq", "HISTORY_URL": DATABASE}, "rabbitmq", []),
        ({"BUS_URL": "amqp://h/v"}, None, ["history"]),
        ({"BUS_URL": "amqp://h/v", "HISTORY_URL": "none"}, None, []),
    ],
)
def test_what_is_not_named_by_an_address_is_embedded(
    settings: dict[str, str], bus: str | None, others: list[str], tmp_path: Path
) -> None:
    """And a database beside a broker that needs one and is given none."""
    loaded = load(tmp_path, environment={f"MUSTER_{k}": v for k, v in settings.items()})
    asked = own_broker.asked(loaded)
    assert (asked.folder if asked else None) == bus
    names = [service.name for service in services.embedded(loaded)]
    assert names == (["bus", *others] if bus else others)


@pytest.mark.parametrize("name", ["nats", "redis", "rabbitmq", "kafka"])
def test_an_embedded_broker_is_called_the_same_in_traces(name: str, tmp_path: Path) -> None:
    loaded = load(tmp_path, environment={"MUSTER_BUS_URL": name})
    assert reporting._system(loaded) == name


@pytest.mark.parametrize(
    ("word", "said"), [("reddis", "did you mean redis?"), ("ada:secret@host", "neither")]
)
def test_a_word_that_is_no_broker_is_not_repeated(word: str, said: str, tmp_path: Path) -> None:
    """It may hold a password."""
    with pytest.raises(SettingsError) as caught:
        checked(word, load(tmp_path))
    assert said in caught.value.details
    assert not any(word in line for line in caught.value.lines())
