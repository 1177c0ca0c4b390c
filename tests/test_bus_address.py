"""What an address of a bus may look like before anybody is asked there."""

from pathlib import Path

import pytest

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
