"""A client and a node: requests, subscriptions, and everything that may happen to them."""

import asyncio
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.transport.connection import Connection, connect
from consensus.transport.errors import Failed, Lost, NoAnswer, Unreached
from consensus.wire.calls import encode_call
from consensus.wire.errors import Refused, TooLarge, Unreadable, Why
from consensus.wire.frames import FrameKind
from consensus.wire.hello import Party
from consensus.wire.keys import Keys
from deploy.ports import LOOPBACK
from tests.certificates import issued
from tests.consensus.transport.speaking import (
    HASTY,
    LIMITS,
    Node,
    answering,
    listening,
    soon,
    stranger,
    terms,
)
from tests.consensus.wire.words import OPERATOR, OTHER, PEER, WORKER


async def worker(node: Node) -> Connection:
    return await soon(connect(node.address, terms(WORKER)))


async def test_a_request_is_answered_and_the_node_knows_who_asked() -> None:
    async with listening() as node:
        connection = await worker(node)
        assert connection.node == PEER
        assert await connection.request(b"x", timeout=10) == b"x by WORKER"
        assert (await node.desk.clients.get()).speaker == WORKER
        await connection.close()
        assert (await soon(node.desk.gone.get())).speaker == WORKER


async def test_answers_come_in_any_order() -> None:
    async with listening() as node:
        node.desk.may[b"slow"] = asyncio.Event()
        connection = await worker(node)
        async with asyncio.TaskGroup() as group:
            slow = group.create_task(connection.request(b"slow", timeout=10))
            assert await connection.request(b"quick", timeout=10) == b"quick by WORKER"
            assert not slow.done()
            node.desk.may[b"slow"].set()
        assert slow.result() == b"slow by WORKER"
        await connection.close()


async def test_many_requests_get_each_its_own_answer() -> None:
    async with listening(terms(limits=replace(LIMITS, requests=8))) as node:
        connection = await worker(node)
        async with asyncio.TaskGroup() as group:
            asked = [
                group.create_task(connection.request(b"%d" % number, timeout=20))
                for number in range(500)
            ]
        assert [one.result() for one in asked] == [b"%d by WORKER" % n for n in range(500)]
        assert node.desk.most <= 8
        await connection.close()


async def test_a_fleet_may_come_in_at_once() -> None:
    """As it does when the leader that it was connected to is gone."""
    async with listening() as node:
        async with asyncio.TaskGroup() as group:
            coming = [group.create_task(worker(node)) for _ in range(200)]
        connections = [one.result() for one in coming]
        assert node.listener.counts()[Party.WORKER] == 200
        for connection in connections:
            assert await connection.request(b"x", timeout=10) == b"x by WORKER"
            await connection.close()


async def test_only_so_many_requests_are_worked_on_at_the_same_time() -> None:
    """More wait at the client, and lose nothing."""
    async with listening(terms(limits=replace(LIMITS, requests=4))) as node:
        gate = asyncio.Event()
        node.desk.may = {b"%d" % number: gate for number in range(20)}
        connection = await worker(node)
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(connection.request(b"%d" % number, timeout=20))
            for _ in range(4):
                await soon(node.desk.asked.get())
            assert node.desk.working == 4
            gate.set()
        assert node.desk.most == 4
        await connection.close()


async def test_a_request_without_an_answer_ends_in_time_and_its_late_answer_is_ignored() -> None:
    async with listening() as node:
        node.desk.may[b"slow"] = asyncio.Event()
        connection = await worker(node)
        with pytest.raises(NoAnswer):
            await connection.request(b"slow", timeout=0.05)
        node.desk.may[b"slow"].set()
        assert await connection.request(b"x", timeout=10) == b"x by WORKER"
        await connection.close()


async def test_a_cancelled_request_leaves_the_connection_as_it_was() -> None:
    async with listening() as node:
        node.desk.may[b"slow"] = asyncio.Event()
        connection = await worker(node)
        asked = asyncio.create_task(connection.request(b"slow", timeout=10))
        await soon(node.desk.asked.get())
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert await connection.request(b"x", timeout=10) == b"x by WORKER"
        await connection.close()
        assert await soon(node.desk.cancelled.get()) == b"slow", "nobody waits for it any more"


async def test_a_node_that_fails_at_a_request_says_so_and_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with listening() as node:
        connection = await worker(node)
        with pytest.raises(Failed, match="fail at this"):
            await connection.request(b"fail at this", timeout=10)
        assert "a request of worker" in caplog.text
        assert await connection.request(b"x", timeout=10) == b"x by WORKER"
        await connection.close()


async def test_an_answer_that_is_too_large_is_a_failure_and_not_a_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with listening() as node:
        node.desk.answers[b"all"] = b"x" * (LIMITS.client_bytes + 1)
        connection = await worker(node)
        with pytest.raises(Failed, match="too large"):
            await connection.request(b"all", timeout=10)
        await connection.close()
    assert caplog.records


async def test_a_request_of_the_largest_size_is_answered_and_no_larger_one_is_sent() -> None:
    async with listening() as node:
        connection = await worker(node)
        node.desk.answers[b"x" * LIMITS.client_bytes] = b"y" * LIMITS.client_bytes
        answer = await connection.request(b"x" * LIMITS.client_bytes, timeout=10)
        assert answer == b"y" * LIMITS.client_bytes
        with pytest.raises(TooLarge):
            await connection.request(b"x" * (LIMITS.client_bytes + 1), timeout=10)
        assert await connection.request(b"x", timeout=10) == b"x by WORKER"
        await connection.close()


async def test_an_operator_may_order_and_a_worker_loses_its_connection_over_it() -> None:
    async with listening() as node:
        operator = await connect(node.address, terms(OPERATOR))
        assert await operator.order(b"remove", timeout=10) == b"done for operator 'ada'"
        mutinous = await worker(node)
        with pytest.raises(Lost):
            await mutinous.order(b"remove", timeout=10)
        assert node.desk.orders == [b"remove"]
        await operator.close()


async def test_what_is_asked_when_the_connection_ends_is_unknown() -> None:
    async with answering(PEER) as called:
        asked = asyncio.create_task(connect(called.address, terms(WORKER)))
        node = await (await called.next()).welcoming()
        connection = await soon(asked)
        request = asyncio.create_task(connection.request(b"x", timeout=10))
        await node.wanted(FrameKind.REQUEST)
        await node.close()
        with pytest.raises(Lost):
            await soon(request)
        await soon(connection.closed.wait())
        assert connection.reason
        with pytest.raises(Lost):
            await connection.request(b"y", timeout=10)
        with pytest.raises(Lost):
            await connection.subscribe(b"z")
        await connection.close()


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (FrameKind.ANSWER, encode_call(9, b"")),
        (FrameKind.PUSH, encode_call(9, b"")),
        (FrameKind.ANSWER, b"short"),
        (FrameKind.REQUEST, encode_call(0, b"")),
        (FrameKind.MESSAGE, encode_call(0, b"")),
    ],
)
async def test_a_node_that_says_what_no_node_says_loses_the_connection(
    kind: FrameKind, payload: bytes
) -> None:
    async with answering(PEER) as called:
        asked = asyncio.create_task(connect(called.address, terms(WORKER)))
        node = await (await called.next()).welcoming()
        connection = await soon(asked)
        node.say(kind, payload)
        await soon(connection.closed.wait())
        assert "cannot read" in connection.reason
        await connection.close()


async def test_a_subscriber_is_told_everything_in_its_order() -> None:
    async with listening() as node:
        connection = await worker(node)
        subscription = await connection.subscribe(b"openings")
        subscriber = await soon(node.desk.subscribers.get())
        assert subscriber.body == b"openings"
        assert subscriber.client.speaker == WORKER
        for number in range(300):
            subscriber.push(b"%d" % number)
        told = [await soon(subscription.next()) for _ in range(300)]
        assert told == [b"%d" % number for number in range(300)]
        await connection.close()


async def test_a_subscription_may_end_with_a_last_word() -> None:
    async with listening() as node:
        connection = await worker(node)
        subscription = await connection.subscribe(b"openings")
        subscriber = await soon(node.desk.subscribers.get())
        subscriber.push(b"one")
        subscriber.end(b"ask node 2")
        subscriber.push(b"nobody hears this")
        assert [told async for told in subscription] == [b"one"]
        assert subscription.last == b"ask node 2"
        await connection.close()
        await soon(node.desk.gone.get())
        assert node.desk.unsubscribers.empty()


async def test_who_cancels_a_subscription_is_told_no_more() -> None:
    async with listening() as node:
        connection = await worker(node)
        subscription = await connection.subscribe(b"openings")
        subscriber = await soon(node.desk.subscribers.get())
        subscription.cancel()
        assert await soon(subscription.next()) is None
        assert await soon(node.desk.unsubscribers.get()) is subscriber
        assert subscriber.over
        subscriber.push(b"late")
        assert await connection.request(b"x", timeout=10) == b"x by WORKER"
        await connection.close()


async def test_subscribers_of_a_lost_connection_are_told_to_the_node_before_its_end() -> None:
    async with listening() as node, stranger(node.port, WORKER) as client:
        await client.welcomed()
        client.say(FrameKind.SUBSCRIBE, encode_call(1, b"a"))
        client.say(FrameKind.SUBSCRIBE, encode_call(2, b"b"))
        first = await soon(node.desk.subscribers.get())
        await soon(node.desk.subscribers.get())
        await client.close()
        await soon(node.desk.gone.get())
        assert node.desk.unsubscribers.get_nowait() is first
        assert node.desk.unsubscribers.qsize() == 1


async def test_a_subscription_tells_what_came_before_the_connection_ended() -> None:
    async with listening() as node:
        connection = await worker(node)
        subscription = await connection.subscribe(b"openings")
        subscriber = await soon(node.desk.subscribers.get())
        subscriber.push(b"one")
        subscriber.client.close("go elsewhere")
        await soon(connection.closed.wait())
        assert await subscription.next() == b"one"
        with pytest.raises(Lost, match="go elsewhere"):
            await subscription.next()
        await connection.close()


async def test_a_client_that_does_not_take_what_it_is_told_loses_its_connection() -> None:
    """Never a part of what it is told; and it costs a bounded memory."""
    async with listening() as node, stranger(node.port, WORKER) as client:
        await client.welcomed()
        client.say(FrameKind.SUBSCRIBE, encode_call(1, b""))
        subscriber = await soon(node.desk.subscribers.get())
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for number in range(1000):
            subscriber.push(b"%04d" % number + b"x" * 60_000)
            await asyncio.sleep(0)
            link = subscriber._link
            waits = link._transport.get_write_buffer_size() if link._transport else 0
            assert link._unsent_bytes + waits <= LIMITS.unsent_bytes + 70_000
        await soon(node.desk.gone.get())
        assert subscriber.over
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        told = 0
        while (frame := await client.next()) is not None:
            assert frame.payload[8:12] == b"%04d" % told
            told += 1
        assert told < 1000


async def test_a_subscription_that_is_not_read_closes_the_connection() -> None:
    async with listening() as node:
        connection = await worker(node)
        subscription = await connection.subscribe(b"openings", room=3)
        subscriber = await soon(node.desk.subscribers.get())
        for number in range(5):
            subscriber.push(b"%d" % number)
        await soon(connection.closed.wait())
        assert [await subscription.next() for _ in range(3)] == [b"0", b"1", b"2"]
        with pytest.raises(Lost, match="not read"):
            await subscription.next()
        await connection.close()


async def test_requests_that_are_not_read_yet_wait_at_the_client() -> None:
    """Nothing is lost, and the node holds little of it."""
    limits = replace(LIMITS, requests=2)
    async with listening(terms(limits=limits)) as node, stranger(node.port, WORKER) as client:
        await client.welcomed()
        body, gate = b"x" * 100_000, asyncio.Event()
        node.desk.may[body] = gate
        for number in range(200):
            client.say(FrameKind.REQUEST, encode_call(number, body))
        for _ in range(2):
            await soon(node.desk.asked.get())
        link = (await node.desk.clients.get())._link
        while not link._unread:  # noqa: ASYNC110 - no event tells that reading stopped
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
            assert link._inbox.held < LIMITS.client_bytes + (512 << 10)
        gate.set()
        for _ in range(200):
            await client.wanted(FrameKind.ANSWER)
        assert node.desk.most == 2


async def test_a_client_that_takes_its_answers_late_gets_them_all() -> None:
    async with listening() as node, stranger(node.port, WORKER) as client:
        await client.welcomed()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        node.desk.answers[b"all"] = b"y" * 200_000
        for number in range(100):
            client.say(FrameKind.REQUEST, encode_call(number, b"all"))
        link = (await soon(node.desk.clients.get()))._link
        while not link.full:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(100):
            await client.wanted(FrameKind.ANSWER)


async def test_a_client_that_does_not_take_its_answers_is_not_read_and_then_sent_away() -> None:
    async with (
        listening(terms(limits=replace(HASTY, hello_s=5.0))) as node,
        stranger(node.port, WORKER) as client,
    ):
        await client.welcomed()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        node.desk.answers[b"all"] = b"y" * 200_000
        for number in range(1000):
            client.say(FrameKind.REQUEST, encode_call(number, b"all"))
        await soon(node.desk.gone.get())
        assert node.desk.asked.qsize() < 500


@pytest.mark.parametrize("kind", [FrameKind.REQUEST, FrameKind.SUBSCRIBE])
async def test_a_call_of_a_number_that_is_under_way_ends_the_connection(kind: FrameKind) -> None:
    async with listening() as node, stranger(node.port, WORKER) as client:
        await client.welcomed()
        node.desk.may[b"slow"] = asyncio.Event()
        client.say(kind, encode_call(1, b"slow"))
        client.say(kind, encode_call(1, b"slow"))
        await client.ended()


async def test_a_client_has_room_for_so_many_subscriptions() -> None:
    async with listening() as node, stranger(node.port, WORKER) as client:
        await client.welcomed()
        for number in range(LIMITS.subscriptions):
            client.say(FrameKind.SUBSCRIBE, encode_call(number, b""))
        for _ in range(LIMITS.subscriptions):
            await soon(node.desk.subscribers.get())
        client.say(FrameKind.SUBSCRIBE, encode_call(99, b""))
        await client.ended()


async def test_the_node_knows_when_a_client_was_heard_last() -> None:
    async with listening() as node:
        connection = await worker(node)
        client = await soon(node.desk.clients.get())
        first = client.heard
        await connection.request(b"x", timeout=10)
        assert first < client.heard <= asyncio.get_running_loop().time()
        assert first < connection.heard <= asyncio.get_running_loop().time()
        await connection.close()


async def test_where_nobody_answers_the_client_hears_it() -> None:
    async with listening() as node:
        address = node.address
    with pytest.raises(Unreached, match=address):
        await connect(address, terms(WORKER))


async def test_a_node_that_is_not_meant_is_refused() -> None:
    async with listening(terms(OTHER)) as node:
        with pytest.raises(Refused, match="where node 1 should"):
            await connect(node.address, terms(WORKER), expected=1)
        with pytest.raises(Refused) as caught:
            await connect(node.address, terms(replace(WORKER, cluster=8)))
        assert caught.value.why is Why.CLUSTER


async def test_a_wrong_key_is_refused_and_told() -> None:
    keys = Keys(Party.WORKER, {Party.WORKER: b"w" * 32})
    async with listening() as node:
        with pytest.raises(Refused, match="different keys") as caught:
            await connect(node.address, terms(WORKER, keys=keys))
        assert caught.value.why is Why.KEY


async def test_versions_that_do_not_meet_are_refused_and_told() -> None:
    async with listening(terms(replace(PEER, protocols=(3, 4)))) as node:
        with pytest.raises(Refused, match="3 to 4") as caught:
            await connect(node.address, terms(WORKER))
        assert caught.value.why is Why.VERSION


async def test_something_else_that_answers_is_unreadable() -> None:
    async with answering() as called:
        asked = asyncio.create_task(connect(called.address, terms(WORKER)))
        other = await called.next()
        other.writer.write(b"220 mail.example.org ESMTP\r\n")
        with pytest.raises(Unreadable):
            await soon(asked)


async def test_something_that_hangs_up_or_is_silent_is_lost() -> None:
    async with answering() as called:
        asked = asyncio.create_task(connect(called.address, terms(WORKER)))
        await (await called.next()).close()
        with pytest.raises(Lost):
            await soon(asked)
        with pytest.raises(Lost, match="in time"):
            await soon(connect(called.address, terms(WORKER, limits=HASTY)))


async def test_a_connect_that_is_cancelled_leaves_nothing_open() -> None:
    async with answering() as called:
        asked = asyncio.create_task(connect(called.address, terms(WORKER)))
        node = await called.next()
        await node.wanted(FrameKind.HELLO)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await node.ended()


async def test_tls_carries_requests_and_refuses_an_untrusted_node(tmp_path: Path) -> None:
    files = issued(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.chain, files.key)
    trusting = ssl.create_default_context(cafile=files.authority)
    async with listening(tls=server) as node:
        connection = await connect(node.address, terms(WORKER), tls=trusting)
        assert await connection.request(b"x", timeout=10) == b"x by WORKER"
        await connection.close()
        with pytest.raises(Unreached, match="no node"):
            await connect(node.address, terms(WORKER), tls=ssl.create_default_context())
        with pytest.raises((Lost, Unreadable, Unreached)):
            await connect(f"{LOOPBACK}:{node.port}", terms(WORKER))
