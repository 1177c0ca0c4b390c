"""What only the NATS backend does, on a real server."""

import asyncio
import gc
import inspect
import json
import socket
import time
import urllib.request
import uuid
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.protocol.parser import Parser

from bus.backend import HIGH, LOW, NORMAL, RETRY, Delivery, Lane, Message
from bus.backends.nats.backend import NatsBackend
from bus.backends.nats.bindings import Binding
from bus.backends.nats.connect import connect, masked
from bus.backends.nats.intake import Intake, Raw
from bus.backends.nats.link import NatsLink
from bus.backends.nats.pulse import Pulse
from bus.backends.nats.sources import Source
from bus.backends.nats.sweep import Sweeper
from bus.backends.nats.wire import hpub, pub
from bus.errors import AccessDenied, Unreachable, Unsafe
from bus.keyvalue import keys
from bus.keyvalue.nats import NatsKeyValue
from contracts.clock import ManualClock, SystemClock
from deploy import ports
from tests.servers import NatsServer

pytestmark = pytest.mark.nats

LANES = (HIGH, RETRY, NORMAL, LOW)
LEASE = 2.0


@asynccontextmanager
async def _link(server: NatsServer, fleet: str = "") -> AsyncIterator[NatsLink]:
    name = fleet or f"t{uuid.uuid4().hex[:12]}"
    link = await connect(server.url, fleet=name, lease=LEASE, clock=SystemClock())
    try:
        yield link
    finally:
        await link.close()


@asynccontextmanager
async def _backend(link: NatsLink) -> AsyncIterator[NatsBackend]:
    backend = NatsBackend(link)
    try:
        yield backend
    finally:
        await backend.close()


@pytest.fixture
async def link(nats_server: NatsServer) -> AsyncIterator[NatsLink]:
    async with _link(nats_server) as made:
        yield made


@pytest.fixture
async def backend(link: NatsLink) -> AsyncIterator[NatsBackend]:
    async with _backend(link) as made:
        await made.bind("g", ["work.#"])
        yield made


def _messages(count: int, prefix: str = "m") -> list[Message]:
    return [Message(f"{prefix}{n}", 0, "work.a", b"{}") for n in range(count)]


async def _take(
    backend: NatsBackend, count: int, group: str = "g", lanes: Sequence[Lane] = LANES
) -> list[Delivery]:
    found: list[Delivery] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += await backend.pull(group, lanes, limit=count - len(found), wait=5)
    return found


def _ids(deliveries: list[Delivery]) -> list[str]:
    return sorted(delivery.message.id for delivery in deliveries)


def test_the_client_library_has_the_parts_we_rely_on() -> None:
    """A new release that lacks one must fail here, not by falling silent."""
    taken = list(inspect.signature(Client._process_msg).parameters)
    assert taken == ["self", "sid", "subject", "reply", "data", "headers"]
    for name in "err pong op_err connect_init".split():
        assert inspect.iscoroutinefunction(getattr(Client, f"_process_{name}"))
    assert inspect.iscoroutinefunction(Client._attempt_reconnect)
    parts = {"_subs", "_sid", "_transport", "_ps", "_pongs", "_pings_outstanding", "_server_info"}
    assert parts <= set(vars(Client()))
    assert "_io_writer" in vars(TcpTransport())  # type: ignore[no-untyped-call]
    assert inspect.iscoroutinefunction(Parser.parse)


async def test_a_wrong_password_is_one_clear_error_at_once() -> None:
    """No second attempt: the server would count it."""
    async with _scripted('INFO {"auth_required":true}', "-ERR 'Authorization Violation'") as url:
        started = time.monotonic()
        with pytest.raises(AccessDenied) as caught:
            await connect(url.replace("//", "//u:wrong@"), fleet="t", clock=SystemClock())
        assert time.monotonic() - started < 1
        assert "wrong" not in " ".join(caught.value.lines())


@asynccontextmanager
async def _scripted(greeting: str, answer: str) -> AsyncIterator[str]:
    """A server that says one thing at first and another after the first command."""
    calls = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        writer.write(f"{greeting}\r\n".encode())
        await reader.readline()
        writer.write(f"{answer}\r\n".encode())
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    assert calls == 1


async def test_nobody_at_the_address_is_unreachable_in_time() -> None:
    url = f"nats://u:secret@127.0.0.1:{ports.free()}"
    with pytest.raises(Unreachable) as caught:
        await connect(url, fleet="t", clock=SystemClock(), connect_timeout=2.0)
    assert "u:***@" in caught.value.message
    assert "secret" not in " ".join(caught.value.lines())
    assert caught.value.actions


async def test_an_address_that_never_answers_is_unreachable_in_time() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        url = f"nats://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(Unreachable):
            await connect(url, fleet="t", clock=SystemClock(), connect_timeout=0.5)
        assert time.monotonic() - started < 1.5


@pytest.mark.promise(2)
async def test_a_server_without_room_for_the_greatest_message_is_unsafe(
    nats_server: NatsServer,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Client, "max_payload", 64 * 1024)
        with pytest.raises(Unsafe) as caught:
            await connect(nats_server.url, fleet="t", clock=SystemClock())
    assert "max_payload" in caught.value.details


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://h:1", "nats://h:1"),
        ("nats://u:p@h:1", "nats://u:***@h:1"),
        ("tls://token@h:1", "tls://***@h:1"),
    ],
)
def test_secrets_are_masked(url: str, shown: str) -> None:
    assert masked(url) == shown


async def test_backend_and_store_on_one_link_close_alone(link: NatsLink) -> None:
    one, other, store = NatsBackend(link), NatsBackend(link), NatsKeyValue(link)
    await one.bind("g", ["work.#"])
    await store.put("a/b", b"1")
    await one.close()
    await store.close()
    await other.publish(_messages(1))
    assert _ids(await _take(other, 1)) == ["m0"]
    await other.close()


@pytest.mark.promise(3, 4)
async def test_a_batch_with_known_keys_takes_the_rest(backend: NatsBackend) -> None:
    """10201 rejects such a batch as a whole; it is repeated message by message."""
    await backend.publish(_messages(300)[::2])
    await backend.publish(_messages(300))
    found = await _take(backend, 300)
    assert _ids(found) == sorted(f"m{n}" for n in range(300))
    assert await backend.pull("g", LANES, limit=10, wait=0.1) == []


async def test_twenty_connections_publish_sixty_batches_at_once(
    nats_server: NatsServer, backend: NatsBackend, link: NatsLink
) -> None:
    """Each writes a batch in one piece, so few are open at the server at any moment."""
    async with AsyncExitStack() as stack:
        others = []
        for _ in range(20):
            own = await stack.enter_async_context(_link(nats_server, link.names.fleet))
            others.append(await stack.enter_async_context(_backend(own)))
        calls = [
            o.publish(_messages(40, f"p{n}-{k}-")) for n, o in enumerate(others) for k in "abc"
        ]
        await asyncio.gather(*calls)
    assert len({d.message.id for d in await _take(backend, 60 * 40)}) == 60 * 40


async def test_a_header_value_cannot_inject_what_the_server_obeys(backend: NatsBackend) -> None:
    evil = {"x": "1\r\nNats-Rollup: all\r\n\r\nPUB a 0", "Nats-Rollup": "all", "nats-ttl": "1s"}
    await backend.publish([*_messages(3), Message("e", 0, "work.a", b"", evil)])
    found = {d.message.id: d.message for d in await _take(backend, 4)}
    assert set(found) == {"m0", "m1", "m2", "e"}
    assert found["e"].headers["Nats-Rollup"] == "all"
    assert "\n" not in found["e"].headers["x"]


async def test_a_foreign_message_arrives_without_an_id(
    backend: NatsBackend, link: NatsLink
) -> None:
    subject = link.names.subject("work.b", NORMAL)
    await link.request(subject, b"1", doing="a foreign publish")
    await link.request(subject, b"2", headers=b"Nats-Msg-Id: their-own\r\n", doing="another")
    found = await _take(backend, 2)
    assert [(d.message.id, d.message.copy, d.message.group) for d in found] == [("", 0, None)] * 2
    assert sorted(d.message.body for d in found) == [b"1", b"2"]


async def test_what_came_for_a_pull_already_over_is_put_back_unharmed(
    nats_server: NatsServer, backend: NatsBackend, link: NatsLink
) -> None:
    """Four consumers wait, one message was wanted: the others must not wait for our lease. They
    lie in their lanes again, not behind what comes back."""
    pull = asyncio.create_task(backend.pull("g", LANES, limit=1, wait=5))
    await asyncio.sleep(0.2)
    sent = [
        Message(name, 0, "work.a", name.encode(), {"h": name}, lane=lane)
        for name, lane in (("high", HIGH), ("normal", NORMAL), ("low", LOW))
    ]
    await backend.publish(sent)
    (first,) = await pull
    async with _link(nats_server, link.names.fleet) as own, _backend(own) as member:
        async with asyncio.timeout(LEASE / 2):
            found = await _take(member, 2, lanes=(HIGH, NORMAL, LOW))
    both = [first, *found]
    assert {(d.message.id, d.message.copy, d.message.group) for d in both} == {
        (name, 0, None) for name in ("high", "normal", "low")
    }
    assert [d.earlier for d in both] == [0, 0, 0]
    assert {d.message.lane for d in both} == {HIGH, NORMAL, LOW}
    assert all(d.message.headers == {"h": d.message.id} for d in both)


@pytest.mark.promise(6)
async def test_a_cancelled_pull_keeps_what_it_took_for_the_next(backend: NatsBackend) -> None:
    await backend.publish(_messages(200))
    found: list[Delivery] = []
    async with asyncio.timeout(10):
        for delay in range(40):
            pull = asyncio.create_task(backend.pull("g", LANES, limit=7, wait=1))
            await asyncio.sleep(delay / 20_000)
            pull.cancel()
            try:
                found += await pull
            except asyncio.CancelledError:
                continue
        while len(found) < 200:
            found += await backend.pull("g", LANES, limit=50, wait=1)
    assert len({d.message.id for d in found}) == 200
    assert all(d.earlier == 0 for d in found)


@pytest.mark.promise(18)
async def test_an_idle_group_asks_the_server_next_to_nothing(
    nats_server: NatsServer, backend: NatsBackend
) -> None:
    """18: pulls in a row that find nothing go on with the requests that wait already."""

    async def idle(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert await backend.pull("g", LANES, limit=8, wait=0.5) == []

    await idle(0.6)
    before = _operations(nats_server)
    await idle(4.0)
    assert _operations(nats_server) - before <= 4


def _operations(server: NatsServer) -> int:
    url = f"{server.monitor_url}/varz"
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own server
        return int(json.load(answer)["in_msgs"])


@pytest.mark.promise(22)
async def test_binding_again_hands_out_each_message_once(backend: NatsBackend) -> None:
    """The old consumers serve what was accepted for them, and nothing after that."""
    await backend.publish(_messages(5, "old"))
    await backend.bind("g", ["work.a", "other.*", "*.b"])
    await backend.publish([*_messages(5, "new"), Message("o", 0, "x.b", b"")])
    found = await _take(backend, 11)
    assert len({d.message.id for d in found}) == 11
    await backend.settle(found)
    assert await backend.pull("g", LANES, limit=20, wait=0.3) == []


async def test_old_consumers_go_when_they_are_drained(backend: NatsBackend, link: NatsLink) -> None:
    await backend.publish(_messages(3))
    await backend.bind("g", ["work.a"])
    await backend.settle(await _take(backend, 3))
    async with asyncio.timeout(10):
        while True:
            await backend.pull("g", LANES, limit=20, wait=0.3)
            infos = await link.api(f"CONSUMER.NAMES.{link.names.tasks}", {}, doing="test")
            if len(infos["consumers"]) == 3:
                break
    await backend.publish(_messages(2, "after"))
    assert _ids(await _take(backend, 2)) == ["after0", "after1"]


@pytest.mark.promise(22)
async def test_two_processes_may_bind_the_same_group_at_once(nats_server: NatsServer) -> None:
    async with AsyncExitStack() as stack:
        fleet = f"t{uuid.uuid4().hex[:12]}"
        made: list[NatsBackend] = []
        for _ in range(6):
            own = await stack.enter_async_context(_link(nats_server, fleet))
            made.append(await stack.enter_async_context(_backend(own)))
        await asyncio.gather(*(b.bind("g", [f"work.{'ab'[n % 2]}"]) for n, b in enumerate(made)))
        await made[0].bind("g", ["work.a"])
        await made[5].publish(_messages(20))
        found = await _take(made[3], 20)
        assert len({d.message.id for d in found}) == 20
        await made[3].settle(found)
        assert await made[1].pull("g", LANES, limit=20, wait=0.3) == []


async def test_a_sweep_removes_what_all_are_done_with_and_nothing_else(
    backend: NatsBackend, link: NatsLink
) -> None:
    await backend.bind("slow", ["work.b"])
    await backend.publish(_messages(50))
    await backend.publish([Message("b", 0, "work.b", b"")])
    await backend.publish([Message("r", 1, "work.a", b"", group="g")])
    await backend.publish([Message("later", 1, "work.a", b"", group="g", due=time.time() + 99)])
    found = await _take(backend, 52)
    held = [d for d in found if d.message.id == "m7"]
    await backend.settle([d for d in found if d not in held])
    sweeper = Sweeper(link, NatsKeyValue(link))
    assert await _sizes(sweeper, link) == (51 - 7, 1)
    assert await backend.extend(held) == []
    assert await backend.settle(held) == []
    assert await _sizes(sweeper, link) == (1, 1)
    (last,) = await _take(backend, 1, "slow")
    assert last.message.id == "b"
    await backend.settle([last])
    assert await _sizes(sweeper, link) == (0, 1)
    await backend.publish([Message("m99", 0, "work.b", b"")])
    assert _ids(await _take(backend, 1, "slow")) == _ids(await _take(backend, 1)) == ["m99"]


async def _sizes(sweeper: Sweeper, link: NatsLink) -> tuple[int, int]:
    names = link.names
    for stream in (names.tasks, names.later):
        await sweeper.sweep(stream)
    infos = [
        await link.api(f"STREAM.INFO.{stream}", doing="test")
        for stream in (names.tasks, names.later)
    ]
    return infos[0]["state"]["messages"], infos[1]["state"]["messages"]


async def test_settling_sweeps_by_itself(backend: NatsBackend, link: NatsLink) -> None:
    await backend.publish(_messages(30))
    await backend.settle(await _take(backend, 30))
    async with asyncio.timeout(15):
        while True:
            info = await link.api(f"STREAM.INFO.{link.names.tasks}", doing="test")
            if info["state"]["messages"] == 0:
                return
            await asyncio.sleep(0.1)


class _CutOffOnce(Sweeper):
    """Loses the broker in the middle of its first sweep."""

    def __init__(self, link: NatsLink) -> None:
        super().__init__(link, NatsKeyValue(link))
        self.tried = False
        self.swept = asyncio.Event()

    async def sweep(self, stream: str) -> None:
        if not self.tried:
            self.tried = True
            raise Unreachable("cut off")
        await super().sweep(stream)
        self.swept.set()


async def test_a_sweep_that_was_cut_off_is_made_up_for(link: NatsLink) -> None:
    """Also when nothing is settled any more that would ask for one."""
    sweeper = _CutOffOnce(link)
    async with _backend(link) as backend:
        await backend.bind("g", ["work.#"])
        sweeper.touch()
        async with asyncio.timeout(15):
            await sweeper.swept.wait()
    await sweeper.close()


@pytest.mark.promise(16)
async def test_a_waiting_pull_goes_on_after_a_restart(own_nats: Callable[[], NatsServer]) -> None:
    """16: never connected and deaf; the requests that waited are sent again."""
    server = own_nats()
    async with _link(server) as link, _backend(link) as backend:
        await backend.bind("g", ["work.#"])
        await backend.publish(_messages(1))
        await backend.settle(await _take(backend, 1))
        for round_ in range(3):
            task = asyncio.create_task(_pull_through(backend))
            await asyncio.sleep(0.1)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            async with _link(server, link.names.fleet) as own, _backend(own) as publisher:
                await publisher.publish(_messages(1, f"r{round_}-"))
                async with asyncio.timeout(5):
                    found = await task
            assert f"r{round_}-0" in _ids(found)
            await backend.settle(found)


async def _pull_through(backend: NatsBackend) -> list[Delivery]:
    while True:
        try:
            found = await backend.pull("g", LANES, limit=5, wait=10)
        except Unreachable:
            continue
        fresh = [d for d in found if d.message.id != "m0"]
        if fresh:
            return found


@pytest.mark.promise(9, 16)
async def test_what_a_killed_broker_forgot_it_handed_out_holds_nobody_up(
    own_nats: Callable[[], NatsServer],
) -> None:
    """16: it answers no acknowledgement of that, and hands it out again: settling and renewing say
    at once that it is no longer ours."""
    server = own_nats()
    async with _link(server) as link, _backend(link) as backend:
        await backend.bind("g", ["work.#"])
        await backend.publish(_messages(1000))
        for _ in range(5):
            await backend.settle(await _take(backend, 100))
        held = await _take(backend, 200)
        server.kill()
        server.start()
        async with asyncio.timeout(LEASE):
            lost = await _again(lambda: backend.extend(held[:100]))
            lost += await _again(lambda: backend.settle(held))
        back = await _take(backend, len(lost))
        assert await backend.settle(back) == []


async def _again(call: Callable[[], Awaitable[list[Delivery]]]) -> list[Delivery]:
    """Repeat while the connection comes back, as `Bus` does."""
    while True:
        try:
            return await call()
        except Unreachable:
            await asyncio.sleep(0.02)


@pytest.mark.promise(9)
async def test_after_a_killed_broker_settled_messages_may_come_again(
    own_nats: Callable[[], NatsServer], capsys: pytest.CaptureFixture[str]
) -> None:
    """9: after kill -9 a duplicate, never a loss; how many is printed."""
    server = own_nats()
    async with _link(server) as link, _backend(link) as backend:
        await backend.bind("g", ["work.#"])
        await backend.publish(_messages(1000))
        assert await backend.settle(await _take(backend, 1000)) == []
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        again: list[Delivery] = []
        async with asyncio.timeout(20):
            while True:
                try:
                    found = await backend.pull("g", LANES, limit=400, wait=LEASE + 1)
                except Unreachable:
                    continue
                again += found
                await backend.settle(found)
                if not found:
                    break
        await backend.publish(_messages(5, "after"))
        assert _ids(await _take(backend, 5)) == [f"after{n}" for n in range(5)]
    with capsys.disabled():
        print(f" {len(again)} of 1000 settled messages seen again after kill -9")


@pytest.mark.promise(15)
def test_time_stood_still_is_noticed_on_either_clock() -> None:
    """15: what is read after a stop had arrived before it."""
    clock = ManualClock(1000.0)
    pulse = Pulse(clock, 1.0)
    assert pulse.arrival() == (1000.0, 1000.0)
    clock._now = 1001.5
    assert pulse.arrival() == (1001.5, 1001.5)
    clock._now = 1009.0
    assert pulse.arrival() == (1000.0, 1000.0)


async def test_sent_bytes_reach_the_server_in_their_order(link: NatsLink) -> None:
    heard: list[bytes] = []
    inbox = link.new_inbox()
    sid = link.listen(inbox, lambda _s, _r, body, _h: heard.append(body))
    link.send(pub(inbox, "", b"1") + hpub(inbox, "", b"a: b\r\n", b"2"))
    link.deafen(sid)
    link.send(pub(inbox, "", b"3"))
    await link.echo()
    assert heard == [b"1", b"2"]


async def test_bindings_are_readable_where_the_table_of_keys_says(
    backend: NatsBackend, link: NatsLink
) -> None:
    entry = await NatsKeyValue(link).get(keys.binding("g"))
    assert entry is not None
    assert json.loads(entry.value)["patterns"] == ["work.#"]


@pytest.mark.promise(5)
async def test_binding_again_under_load_gives_no_message_to_two(
    nats_server: NatsServer,
) -> None:
    """5: members that do not know of the change yet must not take what the new consumers give."""
    fleet = f"t{uuid.uuid4().hex[:12]}"
    seen: list[str] = []
    async with AsyncExitStack() as stack:
        made: list[NatsBackend] = []
        for _ in range(4):
            own = await stack.enter_async_context(_link(nats_server, fleet))
            made.append(await stack.enter_async_context(_backend(own)))
        await made[0].bind("g", ["work.a"])

        async def work(member: NatsBackend) -> None:
            while len(seen) < 2000:
                found = await member.pull("g", LANES, limit=5, wait=0.3)
                seen.extend(d.message.id for d in found)
                await member.settle(found)

        async def feed() -> None:
            messages = _messages(2000)
            for number in range(0, 2000, 4):
                await made[1].publish(messages[number : number + 4])

        async def change() -> None:
            for number in range(4):
                await asyncio.sleep(0.05)
                await made[0].bind("g", ["work.a", f"work.b{number}"])

        async with asyncio.timeout(40):
            await asyncio.gather(feed(), change(), *(work(member) for member in made[1:]))
    assert len(seen) == len(set(seen)) == 2000


async def test_an_intake_that_closes_before_it_put_back_leaves_nothing_unawaited(
    link: NatsLink,
) -> None:
    """Python warns of what was made and never awaited, somewhere in a later test."""

    async def nothing(_: object) -> None:
        return

    def unbound() -> Binding:
        raise AssertionError

    intake = Intake(link, "g", unbound, nothing, nothing)
    source = Source("s", "c", NORMAL)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        intake.add(Raw(source, "subject", "ack", b"", None, (0.0, 0.0)))
        intake._overdue()
        await intake.close()
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
