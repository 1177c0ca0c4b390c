"""Connections to Kafka that do not come about, at a port that accepts and is silent."""

import asyncio
import gc
import warnings

import pytest

from bus.backends.kafka.address import parsed
from bus.backends.kafka.link import KafkaLink
from bus.errors import Unreachable


@pytest.mark.parametrize("how", ["cancelled", "silent"])
async def test_what_is_given_up_while_it_connects_leaves_no_connection_open(how: str) -> None:
    accepted, over = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        await reader.read(1)  # its first question
        while await reader.read(65536):
            pass
        over.set()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    link = KafkaLink(parsed(f"kafka://{host}:{port}"), patience=30.0 if how == "cancelled" else 0.2)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        asking = asyncio.create_task(link.ready("connecting"))
        await accepted.wait()
        if how == "cancelled":
            asking.cancel()
        with pytest.raises((asyncio.CancelledError, Unreachable)):
            await asking
        del asking
        gc.collect()
        assert [str(each.message) for each in told if each.category is ResourceWarning] == []
        async with asyncio.timeout(5.0):
            await over.wait()
    await link.close()
    server.close()
