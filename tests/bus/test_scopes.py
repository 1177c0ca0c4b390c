"""Which limits hold for a task."""

import pytest

from bus.scopes import Scopes
from contracts.limits import Limit
from tests.bus.rooms import envelope

BY = (Limit(rate="5/s"), Limit(concurrency=2, by="tenant"), Limit(rate="1/s", by="payload.who.id"))


def names(scopes: Scopes, body: bytes = b"{}", tenant: str = "acme") -> list[tuple[str, ...]]:
    """The scopes of a task of this body and tenant."""
    return [scope.name for scope in scopes.of(envelope(body=body, tenant=tenant))]


def test_without_limits_there_is_nothing_to_ask() -> None:
    assert not Scopes("coder")
    assert names(Scopes("coder")) == []


def test_the_narrowest_comes_first() -> None:
    """Field, tenant, role, and the tenant over all roles."""
    scopes = Scopes("coder", BY, {"acme": Limit(rate="9/s"), "*": Limit(rate="3/s")})
    found = names(scopes, b'{"who": {"id": 7}}')
    assert [name[:-1] for name in found] == [
        ("role", "coder", "payload.who.id.0"),
        ("role", "coder", "tenant.0"),
        ("role", "coder"),
        ("tenant",),
    ]
    assert (found[1][-1], found[2][-1], found[3][-1]) == ("acme", "role.0", "acme")


def test_a_tenant_without_limits_of_its_own_has_those_of_everyone() -> None:
    scopes = Scopes("coder", (), {"acme": Limit(rate="9/s"), "*": Limit(rate="1/s")})
    (ours,) = scopes.of(envelope(tenant="acme"))
    (theirs,) = scopes.of(envelope(tenant="other"))
    assert ours.bucket is not None
    assert theirs.bucket is not None
    assert (ours.bucket.interval, theirs.bucket.interval) == (1 / 9, 1.0)
    assert ours.name != theirs.name


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b'{"who": {"id": 7}}', b'{"x": 1, "who": {"id": 7}}', True),
        (b'{"who": {"id": 7}}', b'{"who": {"id": "7"}}', False),
        (b'{"who": {"id": 7}}', b'{"who": {"id": 8}}', False),
        (b"{}", b'{"who": 3}', True),
        (b"{}", b"no json", True),
    ],
)
def test_equal_values_of_a_field_share_a_limit(one: bytes, other: bytes, same: bool) -> None:
    """Tasks without it share one too."""
    scopes = Scopes("coder", BY)
    assert (names(scopes, one)[0] == names(scopes, other)[0]) is same


def test_two_limits_by_the_same_thing_are_two() -> None:
    scopes = Scopes("coder", (Limit(rate="5/s"), Limit(rate="100/min")))
    assert len(set(names(scopes))) == 2
