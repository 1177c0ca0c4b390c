"""What crosses a bridge: JSON, and CloudEvents in both modes."""

import json
import re
import subprocess
import sys

import pytest

from contracts.errors import InvalidValue
from workers.bridge.errors import ExtraMissing, NotFit
from workers.bridge.foreign import Foreign
from workers.bridge.messages import STRUCTURED, Arrived, Leaving, read
from workers.bridge.places import crossing, place_of

EVENT = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "order"}


@pytest.mark.parametrize("prefix", ["ce-", "ce_", "CE-", "cloudEvents:", "cloudEvents_"])
def test_an_event_in_binary_mode_is_named_by_source_and_id(prefix: str) -> None:
    headers = {f"{prefix}{name}": value for name, value in EVENT.items()}
    incoming = read(Arrived(body=b'{"a": 1}', headers=headers, own_id="ORDERS 4"))
    assert (incoming.payload, incoming.key) == ({"a": 1}, "/shop\n7")


def test_an_event_in_structured_mode_has_the_same_name() -> None:
    body = json.dumps({**EVENT, "data": {"a": 1}}).encode()
    headers = {"Content-Type": f"{STRUCTURED}; charset=UTF-8"}
    incoming = read(Arrived(body=body, headers=headers))
    assert (incoming.payload, incoming.key) == ({"a": 1}, "/shop\n7")


def test_plain_json_is_named_by_the_broker_that_carries_it_or_not_at_all() -> None:
    assert read(Arrived(body=b"[1]", headers={}, own_id="ORDERS 4")).key == "ORDERS 4"
    assert read(Arrived(body=b"[1]", headers={})).key is None


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b""),
        ({}, b"\xff"),
        ({}, b'{"a": NaN}'),
        ({"ce-specversion": "1.0", "ce-id": "7"}, b"{}"),
        ({"content-type": STRUCTURED}, b"[]"),
        ({"content-type": STRUCTURED}, json.dumps({**EVENT, "data_base64": "%"}).encode()),
        ({"content-type": STRUCTURED}, json.dumps({**EVENT, "data_base64": 3}).encode()),
        ({"content-type": STRUCTURED}, json.dumps({**EVENT, "id": ""}).encode()),
        ({"content-type": "application/cloudevents-batch+json"}, b"[]"),
    ],
)
def test_what_is_no_task_is_told_apart(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(NotFit):
        read(Arrived(body=body, headers=headers))


@pytest.mark.parametrize("data", [b'{"text": "\xc3\xa4"}', b"null", b"\xff no JSON"])
def test_an_event_says_the_same_in_both_modes(data: bytes) -> None:
    leaving = Leaving(attributes={**EVENT, "subject": "ä b"}, data=data)
    headers, body = leaving.binary("ce-")
    assert all(value.isascii() for value in headers.values())
    assert (body, headers["ce-id"]) == (data, "7")
    headers, body = leaving.structured()
    told = json.loads(body)
    assert {name: told[name] for name in EVENT} == EVENT
    assert told["subject"] == "ä b"
    assert ("data" in told) != (data[:1] == b"\xff")


def test_a_place_is_told_without_who_may_use_it() -> None:
    place = place_of("amqp://ada:hidden@bus:5672/shop/orders")
    assert (place.server, place.name) == ("amqp://ada:hidden@bus:5672/shop", "orders")
    assert place.shown == "amqp://bus:5672/shop/orders"


def test_a_bridge_has_the_same_name_at_every_start_and_for_every_user() -> None:
    one = crossing("nats://bus/orders?stream=S", "support.order")
    again = crossing("nats://ada:hidden@bus/orders", "support.order")
    other = crossing("support.order", "nats://bus/orders")
    assert one.inward
    assert one.group == again.group != other.group
    assert one.group.startswith("bridge-support-order-")
    assert crossing("a.#", "nats://bus/x", "mine").group == "bridge-mine"


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("a.b", "c.d"),
        ("nats://bus/a", "nats://bus/b"),
        ("http://bus/a", "support.order"),
        ("nats://bus", "support.order"),
        ("nats:///a", "support.order"),
        ("nats://bus:no/a", "support.order"),
    ],
)
def test_ends_that_cannot_be_joined_are_refused(source: str, target: str) -> None:
    with pytest.raises(InvalidValue):
        crossing(source, target)


def test_a_place_keeps_its_password_to_itself() -> None:
    found = crossing("kafka://ada:hidden@bus:9092,other/orders", "support.order")
    assert "hidden" not in repr(found)
    assert found.place.shown == "kafka://bus:9092,other/orders"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("nats://ada:hidden@bus/a?steam=S", "did you mean stream=?"),
        ("amqp://ada:hidden@bus/a?heartbeat=9", "known: nothing"),
        ("kafka://ada:hidden@bus/a?cafile=x", "no option 'cafile'"),
        ("kafka://ada:hidden@bus:9092,other:no/a", "port"),
    ],
)
def test_what_a_place_does_not_have_is_refused(url: str, why: str) -> None:
    with pytest.raises(InvalidValue, match=re.escape(why)) as refused:
        place_of(url)
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "kafka://ada:hidden@bus/orders?login=GSSAPI",
        "kafkas://ada:hidden@bus/orders?cafile=/nowhere/ca.pem",
        "rediss://ada:hidden@bus/orders?cafile=/nowhere/ca.pem",
    ],
)
def test_an_option_that_cannot_be_kept_is_refused(url: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        Foreign(place_of(url), "g")
    assert "hidden" not in str(refused.value)


def test_without_the_extra_the_bridge_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "faststream"]:
        monkeypatch.delitem(sys.modules, name)  # another test may have used it
    monkeypatch.setitem(sys.modules, "faststream", None)
    with pytest.raises(ExtraMissing) as missing:
        Foreign(place_of("nats://bus/orders"), "g")
    assert missing.value.actions == ("install it: pip install 'muster[bridge]'",)


def test_help_of_the_bridge_needs_nothing_of_the_extra() -> None:
    source = (
        "import workers.cli.bridge, workers.bridge.foreign, sys; print('faststream' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
