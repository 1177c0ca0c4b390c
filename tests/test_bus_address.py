"""What an address of a bus may look like before anybody is asked there."""

from pathlib import Path

import pytest

from workers import reporting
from workers.bus_address import checked
from workers.settings import SettingsError, load


@pytest.mark.parametrize("url", ["kafka://a:1,b:2", "kafkas://u:p@a,b:9?partitions=3", "kafka://a"])
def test_several_brokers_may_be_named_where_clients_take_them(url: str, tmp_path: Path) -> None:
    assert checked(url, load(tmp_path)) == url


@pytest.mark.parametrize(
    "url", ["kafka://a:1,b:0", "kafka://a,,b", "kafka://u:p@", "nats://a:1,b:2"]
)
def test_an_address_that_leads_nowhere_is_refused(url: str, tmp_path: Path) -> None:
    """Also where one of several hosts is wrong."""
    with pytest.raises(SettingsError):
        checked(url, load(tmp_path))


@pytest.mark.parametrize(
    ("scheme", "name"),
    [("tls", "nats"), ("rediss", "redis"), ("amqps", "rabbitmq"), ("kafkas", "kafka")],
)
def test_a_broker_is_called_the_same_in_traces_with_and_without_tls(
    tmp_path: Path, scheme: str, name: str
) -> None:
    loaded = load(tmp_path, environment={"MUSTER_BUS_URL": f"{scheme}://HOST:1"})
    assert reporting._system(loaded) == name
