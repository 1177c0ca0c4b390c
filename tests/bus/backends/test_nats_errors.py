"""What a NATS server says when it refuses, as errors of the bus that say whether to repeat."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable

import nats
import pytest
from nats.aio.client import Client

from bus.backend import NORMAL, Message
from bus.backends.nats import errors
from bus.backends.nats.backend import NatsBackend
from bus.backends.nats.connect import connect
from bus.errors import BusError, Full, TooLarge, Unreachable, Unsafe
from contracts.clock import SystemClock
from tests.servers import NatsServer


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        (10047, Full),
        (10054, TooLarge),
        (10008, Unreachable),
        (10176, Unreachable),
        (10210, Unreachable),
        (10211, Unreachable),
        (10052, Unsafe),
    ],
)
def test_each_answer_is_the_error_that_says_whether_to_repeat(
    code: int, raised: type[BusError]
) -> None:
    said = {"code": 400, "err_code": code, "description": "no"}
    error = errors.refusal(said, "publishing")
    assert type(error) is raised
    assert errors.code_of(error) == code


FLEET = "refused"
TASK = Message("t", 0, "work.x", b"{}", {}, NORMAL)


@pytest.fixture
async def backend(
    own_nats: Callable[[], NatsServer],
) -> AsyncIterator[tuple[NatsBackend, Client, str]]:
    """A backend with a group, the bare client, and a subject of the group's stream."""
    server = own_nats()
    link = await connect(server.url, fleet=FLEET, lease=2.0, clock=SystemClock())
    made = NatsBackend(link)
    bare = await nats.connect(server.url)
    try:
        await made.bind("g", ["work.#"])
        yield made, bare, link.names.subject(TASK.topic, TASK.lane)
    finally:
        await bare.close()
        await made.close()
        await link.close()


async def part(bare: Client, subject: str, number: int, *, last: bool) -> int:
    """The code with which the server refuses one message of a batch of its own, else 0."""
    headers = {"Nats-Batch-Id": uuid.uuid4().hex, "Nats-Batch-Sequence": str(number)}
    if last:
        headers["Nats-Batch-Commit"] = "1"
    answer = await bare.request(subject, b"", 5.0, headers=headers)
    return int(json.loads(answer.data or b"{}").get("error", {}).get("err_code", 0))


@pytest.mark.nats
async def test_the_end_of_a_batch_whose_beginning_is_forgotten_may_be_repeated(
    backend: tuple[NatsBackend, Client, str],
) -> None:
    """So it is for who publishes while the server is killed."""
    _, bare, subject = backend
    code = await part(bare, subject, 2, last=True)
    assert isinstance(errors.refusal({"err_code": code}, "publishing"), Unreachable)


@pytest.mark.nats
async def test_who_finds_too_many_batches_open_waits_and_may_repeat_it(
    backend: tuple[NatsBackend, Client, str],
) -> None:
    """Others have begun as many as the server bears, and do not end them."""
    ours, bare, subject = backend
    async with asyncio.timeout(10.0):
        while not await part(bare, subject, 1, last=False):
            pass
    began = asyncio.get_running_loop().time()
    with pytest.raises(Unreachable, match="did not answer"):
        await ours.publish([TASK, Message("u", 0, "work.x", b"{}", {}, NORMAL)])
    assert asyncio.get_running_loop().time() - began > 0.05
