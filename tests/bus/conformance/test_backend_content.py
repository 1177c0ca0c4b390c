"""What goes in comes out, byte for byte, up to the limits (promise 2)."""

import random
from dataclasses import replace

import pytest

from bus.backend import MAX_BODY, MAX_HEADERS, RETRY
from bus.errors import TooLarge
from contracts.envelope import Envelope, decode, encode
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import bound, drain, ids, nothing, take, task

BODIES = (b"", b"\x00", b"{}", bytes(range(256)) * 3, b"\r\n\r\nNATS/1.0\r\n", "naïve ✓".encode())

HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"one": "1"},
    {"empty": ""},
    {"spaces": "  inside and around  "},
    {"percent": "%E2%9C%93%20100%25", "signs": "a:b;c=d,e/f?g&h\"'\\"},
    {f"x-{number}": str(number) for number in range(60)},
    {"long": "v" * 8000},
)

IDS = ("a b", "x.*.>", "wörk/✓", "id%2F1", "0" * 200, "a\\b\"c'", "$x{1}[2]")


@pytest.mark.promise(1)
async def test_bodies_and_headers_arrive_as_they_were_sent(world: World) -> None:
    """Any bytes; header values of printable ASCII; nothing is added, nothing is missing."""
    backend = await bound(world)
    sent = {
        f"{b}-{h}": replace(task(f"{b}-{h}"), body=body, headers=headers)
        for b, body in enumerate(BODIES)
        for h, headers in enumerate(HEADERS)
    }
    await backend.publish(list(sent.values()))
    for delivery in await take(world, backend, len(sent)):
        got, want = delivery.message, sent[delivery.message.id]
        assert got.body == want.body
        assert dict(got.headers) == dict(want.headers), want.id
        assert (got.copy, got.topic, got.group) == (0, "work.a", None)
        assert delivery.group == "g"
        assert delivery.earlier == 0


@pytest.mark.promise(8)
async def test_a_delivery_tells_the_lane_it_lay_in_and_when_it_was_due(world: World) -> None:
    """What comes back lies in the retry lane; `due` is as it was sent, to the millisecond."""
    backend = await bound(world)
    due = world.clock.wall() + 0.2
    await backend.publish([task("a"), task("b", copy=1, group="g"), task("c", due=due)])
    by_id = {d.message.id: d.message for d in await take(world, backend, 3)}
    assert (by_id["c"].lane, by_id["c"].group, by_id["c"].copy) == (RETRY, "g", 0)
    assert by_id["a"].lane == task("a").lane
    assert (by_id["b"].lane, by_id["b"].group, by_id["b"].copy) == (RETRY, "g", 1)
    assert (by_id["a"].due, by_id["b"].due) == (0.0, 0.0)
    assert by_id["c"].due == pytest.approx(due, abs=0.001)


@pytest.mark.promise(4)
async def test_ids_may_have_any_printable_characters(world: World) -> None:
    """Routed, for one group, and delayed: ids travel, and stay apart."""
    backend = await bound(world)
    due = world.clock.wall() + 0.3
    await backend.publish([task(id_) for id_ in IDS])
    await backend.publish([task(id_, copy=1, group="g") for id_ in IDS])
    await backend.publish([task(id_, copy=2, group="g", due=due) for id_ in IDS])
    found = await take(world, backend, 3 * len(IDS))
    assert ids(found) == sorted(IDS * 3)
    assert {(d.message.id, d.message.copy) for d in found} == {
        (i, c) for i in IDS for c in range(3)
    }


@pytest.mark.promise(1)
async def test_an_envelope_with_any_text_survives(world: World) -> None:
    """Text outside ASCII is percent-encoded by the envelope, not by the backend."""
    backend = await bound(world)
    envelope = Envelope(
        id="ä/1",
        topic="work.a",
        source="/müster/ 1",
        time=1_700_000_000.25,
        body="Grüße".encode(),
        tenant=" ünïcode “quoted” % ",
        correlation="日本\n\t語",
        subjects=("a,b", "ç"),
        deadline=world.clock.wall() + 60.123456,
    )
    await backend.publish(
        [replace(task(envelope.id), body=envelope.body, headers=encode(envelope))]
    )
    (delivery,) = await take(world, backend, 1)
    assert decode(delivery.message.headers, delivery.message.body) == envelope


@pytest.mark.promise(2)
async def test_the_greatest_sizes_are_taken(world: World) -> None:
    """2: a body and headers of exactly the limit, at the same time, also in `then` and delayed."""
    backend = await bound(world)
    body = random.Random(7).randbytes(MAX_BODY)
    headers = {"h": "v" * (MAX_HEADERS // 2 - 1), "i": "w" * (MAX_HEADERS // 2 - 1)}
    great = replace(task("a"), body=body, headers=headers)
    await backend.publish([great])
    due = world.clock.wall() + 0.2
    for copy in (1, 2):
        held = await take(world, backend, 1)
        assert held[0].message.body == body
        assert dict(held[0].message.headers) == headers
        again = replace(great, copy=copy, group="g", due=due if copy == 2 else 0.0, lane=RETRY)
        assert await backend.settle(held, then=[again]) == []
    (last,) = await take(world, backend, 1)
    assert (last.message.body, dict(last.message.headers)) == (body, headers)


@pytest.mark.promise(2)
async def test_one_message_over_a_limit_stops_the_whole_call(world: World) -> None:
    """2: `TooLarge`, and nothing of the call was sent."""
    backend = await bound(world)
    bodies = replace(task("b"), body=b"x" * (MAX_BODY + 1))
    headers = replace(task("h"), headers={"name": "v" * (MAX_HEADERS - 3)})
    for bad in (bodies, headers):
        with pytest.raises(TooLarge):
            await backend.publish([task(f"with-{bad.id}"), bad])
    await nothing(world, backend)


@pytest.mark.promise(2, 10)
async def test_then_over_a_limit_settles_nothing(world: World) -> None:
    """2, 10: the input stays ours, and what stood beside it in `then` was not sent."""
    backend = await bound(world)
    await backend.publish([task("a")])
    held = await take(world, backend, 1)
    bad = replace(task("a", copy=1, group="g"), body=b"x" * (MAX_BODY + 1))
    with pytest.raises(TooLarge):
        await backend.settle(held, then=[task("beside", group="g"), bad])
    await nothing(world, backend)
    assert await backend.settle(held) == []


@pytest.mark.promise(3)
async def test_a_batch_may_be_larger_than_what_a_broker_takes_at_once(world: World) -> None:
    """3: many messages, and many bytes, in one call."""
    backend = await bound(world)
    await backend.publish([task(f"t{n}") for n in range(2500)])
    assert len(set(ids(await drain(world, backend, 2500)))) == 2500
    body = bytes(500 * 1024)
    await backend.publish([replace(task(f"big{n}"), body=body) for n in range(12)])
    assert len(set(ids(await take(world, backend, 12)))) == 12
