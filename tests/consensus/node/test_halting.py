"""A node that cannot go on does nothing more, and says why."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from consensus.ledger.entries import UnknownCommand
from consensus.node.halting import CODE, Diverged, told
from consensus.node.writer import Writer
from consensus.raft.errors import NoSpace
from tests.consensus.node.cluster import clients, opened, running, soon, until


async def test_an_entry_nobody_knows_ends_every_node_before_it_is_applied(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "ada") as ada:
        await soon(opened(ada, "k"))
        await cluster.level()
        leader = await cluster.leader()
        applied = {node.id: node.status().applied for node in cluster.nodes.values()}
        leader._a.core.propose(b"\xff of another release")
        leader._wake()
        await until(lambda: len(cluster.halted) >= 2)
        assert all(isinstance(error, UnknownCommand) for error in cluster.halted.values())
        for node in cluster.nodes.values():
            assert node.status().applied == applied[node.id]


def test_the_process_ends_at_once_with_the_reason() -> None:
    code = (
        "import atexit, consensus.node.halting as h\n"
        "atexit.register(print, 'something was written after all')\n"
        "h.leave(h.Diverged(7, bytes(32), bytes([255]) * 32))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.returncode == CODE
    assert found.stdout == ""
    assert "why: after entry 7 it is 0000" in found.stderr
    assert "do: keep the folders" in found.stderr


def test_any_error_is_told() -> None:
    assert told(ValueError("that")) == "ValueError: that"
    assert told(Diverged(1, b"", b"")).startswith("this node's state is not that of the leader")


async def test_after_a_failure_nothing_is_written_any_more() -> None:
    failures: asyncio.Queue[BaseException] = asyncio.Queue()
    writer = Writer(failures.put_nowait)
    done: list[str] = []

    def fails() -> None:
        raise OSError("input/output error")

    writer.do(fails, lambda _: done.append("told"))
    writer.do(lambda: done.append("worked"), lambda _: done.append("told"))
    assert isinstance(await soon(failures.get()), OSError)
    await soon(writer.close())
    assert done == []


async def test_a_disk_without_room_is_told_to_who_asked_and_ends_nothing() -> None:
    failures: list[BaseException] = []
    writer = Writer(failures.append)

    def full() -> None:
        raise NoSpace

    with pytest.raises(NoSpace):
        await soon(writer.call(full))
    assert await soon(writer.call(lambda: 7)) == 7
    await soon(writer.close())
    assert failures == []
