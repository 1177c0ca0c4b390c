"""Addresses, and how long to wait before the next attempt."""

import random

import pytest

from consensus.transport.dialing import Patience, dial, parse
from consensus.transport.errors import Unreached
from consensus.transport.limits import Limits
from deploy import ports


@pytest.mark.parametrize(
    ("address", "found"),
    [("a:1", ("a", 1)), ("10.0.0.1:65535", ("10.0.0.1", 65535)), ("[::1]:7", ("::1", 7))],
)
def test_an_address_is_a_host_and_a_port(address: str, found: tuple[str, int]) -> None:
    assert parse(address) == found


@pytest.mark.parametrize("address", ["", "a", ":1", "a:", "a:0", "a:65536", "a:b", "a:-1"])
async def test_what_is_no_address_is_unreached(address: str) -> None:
    with pytest.raises(ValueError, match="no host:port"):
        parse(address)
    with pytest.raises(Unreached, match="no node"):
        await dial(address, Limits())


async def test_a_port_where_nobody_listens_is_unreached() -> None:
    with pytest.raises(Unreached, match="no node of the ledger answers") as caught:
        await dial(f"{ports.LOOPBACK}:{ports.free()}", Limits())
    assert caught.value.retryable


def test_attempts_come_apart_and_never_in_step() -> None:
    patience, rng = Patience(0.05, 0.5), random.Random(1)
    for tries, longest in [(1, 0.05), (2, 0.1), (3, 0.2), (4, 0.4), (5, 0.5), (1000, 0.5)]:
        drawn = [patience.delay(tries, rng) for _ in range(50)]
        assert longest / 2 <= min(drawn)
        assert max(drawn) <= longest
        assert len(set(drawn)) > 40
