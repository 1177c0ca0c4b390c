"""A task in a process of its own: whatever it does costs that one task, and nothing is left."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import structlog
from pydantic_core import to_json

from bus.backend import RETRY
from bus.settling import to_message
from contracts.envelope import Envelope
from contracts.ids import child_id
from contracts.outcomes import Reason
from contracts.results import Result, Status
from tests.engine.fleets import LiveFleet
from workers.engine import isolation
from workers.engine.host import Host
from workers.sdk.discovery import discover
from workers.sdk.role import Role

ROLES = discover([Path(__file__).with_name("apart.py")])

CUT = 2.0
"""Seconds within which nothing of a task that is not wanted any more is left."""


class Apart:
    """A fleet in real time whose worker runs the roles of `apart.py`."""

    def __init__(self, fleet: LiveFleet, folder: Path) -> None:
        self.fleet = fleet
        self.said = folder / "said.txt"

    async def end(
        self, what: str, value: Any = None, *, role: str = "apart", **more: Any
    ) -> Result:
        """How a task that does `what` ends."""
        payload = {"what": what, "value": value, "file": str(self.said)}
        task = await self.fleet.client.publish(f"{role}.x", payload, **more)
        return await task.outcome(20.0)

    async def value(self, what: str, value: Any = None, **more: Any) -> Any:
        """What it returns."""
        end = await self.end(what, value, **more)
        assert end.status is Status.SUCCEEDED, end.error
        return end.value

    async def words(self, first: str) -> list[str]:
        """The rest of the first line it said that begins with this word."""
        async with asyncio.timeout(20.0):
            while True:
                lines = self.said.read_text().splitlines() if self.said.exists() else []
                for line in lines:
                    word, *rest = line.split()
                    if word == first:
                        return rest
                await asyncio.sleep(0.01)


def running(*names: str) -> list[Role]:
    """These roles of `apart.py`."""
    return [ROLES[name] for name in names]


async def gone(pids: list[int], seconds: float = CUT) -> float:
    """Seconds until none of these processes is left; the test fails if that takes too long."""
    start = time.monotonic()
    while any(map(_lives, pids)):
        assert time.monotonic() - start < seconds, f"left behind: {list(filter(_lives, pids))}"
        await asyncio.sleep(0.01)
    return time.monotonic() - start


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Apart]:
    """The fleet, drained at the end."""
    fleet = LiveFleet(lease=5.0)
    async with fleet.running(*running("apart", "brief", "small", "leaf", "thread"), drain=0.2):
        yield Apart(fleet, tmp_path)


async def test_its_result_comes_back_and_it_knows_who_it_is(live: Apart) -> None:
    value = {"text": "grüße", "n": 1.5, "none": None, "big": 2**70}
    found = await live.value("echo", value)
    assert found.pop("pid") != os.getpid()
    task = found.pop("id")
    assert found == {"value": value, "attempt": 1, "fence": 0, "topic": "apart.x"}
    assert len(task) == 36


async def test_two_tasks_never_share_a_process(live: Apart) -> None:
    found = await asyncio.gather(*(live.value("echo") for _ in range(10)))
    assert len({one["pid"] for one in found}) == 10


async def test_parts_of_its_result_reach_the_caller(live: Apart) -> None:
    payload = {"what": "stream", "value": 300}
    task = await live.fleet.client.publish("apart.x", payload, stream=True)
    assert [part.value async for part in task.stream()] == [{"n": n} for n in range(300)]
    assert await live.value("stream", 3) == 3, "nobody reads"


async def test_a_plain_handler_runs_in_a_thread_of_its_process(live: Apart) -> None:
    """What asks for nothing and does not stop is killed there, and costs no worker."""
    assert await live.value("echo", 7, role="thread") == [7, False]
    end = await live.end("deaf", role="thread")
    assert end.reason is Reason.TIMEOUT
    (pid,) = map(int, await live.words("pids"))
    await gone([pid])
    assert await live.value("echo", 8, role="thread") == [8, False]


async def test_a_body_of_the_greatest_size_goes_there_and_back(live: Apart) -> None:
    text = "x" * 800_000
    assert (await live.value("echo", text))["value"] == text


async def test_an_error_is_retried_and_told_with_its_place(live: Apart) -> None:
    end = await live.end("error", "no luck")
    assert (end.reason, end.attempt) == (Reason.EXHAUSTED, 2)
    assert end.error.startswith("ValueError: no luck\n")
    assert "apart.py" in end.error


@pytest.mark.parametrize("what", ["cancel", "sys_exit"])
async def test_whatever_a_handler_raises_is_an_error_of_its_own(live: Apart, what: str) -> None:
    end = await live.end(what, 3)
    assert (end.reason, end.attempt) == (Reason.EXHAUSTED, 2)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("interrupt", "KeyboardInterrupt: no key"),
        ("generator", "GeneratorExit: no generator"),
        ("uncommon", "UncommonError: no Exception"),
        ("group", "BaseExceptionGroup: several (1 sub-exception)"),
        ("half", "ValueError: half a character: ?"),
        ("unspeakable", "UnspeakableError: "),
    ],
)
async def test_what_it_raises_is_told_however_odd_it_is(live: Apart, value: str, says: str) -> None:
    """And not as a crash of its process."""
    end = await live.end("raise", value)
    assert (end.reason, end.attempt) == (Reason.EXHAUSTED, 2)
    assert end.error.startswith(says)
    assert "apart.py" in end.error


async def test_memory_without_a_limit_is_not_told_as_one(live: Apart) -> None:
    end = await live.end("raise", "memory")
    assert end.reason is Reason.CRASH
    assert end.error.startswith("it needed more memory than there is\n")


async def test_a_log_line_that_is_no_text_does_not_end_a_run(live: Apart) -> None:
    assert await live.value("log_half") == "logged"


async def test_outcomes_are_understood(live: Apart) -> None:
    end = await live.end("outcome", "reject")
    assert (end.reason, end.error) == (Reason.REJECTED, "no use")
    for what in ("snooze", "retry"):
        late = await live.end("outcome", what, deadline=1.0)
        assert late.reason is Reason.EXPIRED


async def test_a_payload_that_does_not_fit_never_reaches_the_handler(live: Apart) -> None:
    task = await live.fleet.client.publish("apart.x", {"what": 7})
    end = await task.outcome(10.0)
    assert (end.reason, end.attempt) == (Reason.INVALID, 1)
    assert "what" in end.error


@pytest.mark.parametrize(
    ("what", "value", "says"),
    [
        ("signal", signal.SIGKILL, "its process ended with signal 9"),
        ("signal", signal.SIGTERM, "its process ended with signal 15"),
        ("segfault", None, "its process ended with signal 11"),
        ("exit", 0, "its process ended with exit code 0 and no answer"),
        ("exit", 3, "its process ended with exit code 3 and no answer"),
        ("parent", None, "its process ended with signal 9"),
    ],
)
async def test_a_process_that_dies_uses_up_an_attempt_and_nothing_else(
    live: Apart, what: str, value: object, says: str
) -> None:
    end = await live.end(what, value)
    assert (end.reason, end.attempt) == (Reason.CRASH, 2)
    assert end.error.startswith(says)
    assert (await live.value("echo", 1))["value"] == 1


async def test_those_beside_a_killer_notice_nothing(live: Apart) -> None:
    killer = asyncio.create_task(live.end("signal", signal.SIGKILL))
    found = await asyncio.gather(*(live.value("echo", n) for n in range(20)))
    assert [one["value"] for one in found] == list(range(20))
    assert {one["attempt"] for one in found} == {1}
    assert (await killer).reason is Reason.CRASH


async def test_what_is_no_frame_ends_the_run_and_the_worker_goes_on(live: Apart) -> None:
    assert (await live.end("rubbish")).status is Status.FAILED
    assert (await live.value("echo", 1))["value"] == 1


@pytest.mark.parametrize(("what", "value"), [("hang", None), ("block", None), ("block", 1)])
async def test_the_time_limit_ends_it_with_all_it_has_started(
    live: Apart, what: str, value: object
) -> None:
    end = await live.end(what, value, role="brief")
    assert (end.reason, end.attempt) == (Reason.TIMEOUT, 1)
    await gone([int(pid) for pid in await live.words("pids")])


async def test_a_handler_that_is_not_wanted_any_more_may_clean_up_first(live: Apart) -> None:
    await live.end("hang", role="brief")
    assert await live.words("cancelled") == ["True"]


async def test_one_that_blocks_its_loop_still_sees_that_it_is_cancelled(live: Apart) -> None:
    await live.end("block", 1, role="brief")
    assert await live.words("cancelled") == ["True"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_DATA as Linux has it")
async def test_what_it_allocates_beyond_its_memory_is_a_crash_at_that_line(live: Apart) -> None:
    assert await live.value("eat", 30, role="small") == 30 * 1024 * 1024
    end = await live.end("eat", 200, role="small")
    assert (end.reason, end.attempt) == (Reason.CRASH, 1)
    assert end.error.startswith("it needed more than the 150 MB of role small\n")
    assert "apart.py" in end.error


async def test_memory_of_what_it_starts_counts_too(live: Apart) -> None:
    end = await live.end("eat_by_another", 3, role="small")
    assert end.reason is Reason.CRASH
    assert "more than the 150 MB of role small" in end.error


async def test_it_opens_as_many_files_as_it_may_and_no_more(live: Apart) -> None:
    assert await live.value("open", 10, role="small") == 10
    end = await live.end("open", 11, role="small")
    assert end.reason is Reason.EXHAUSTED
    assert "Too many open files" in end.error


async def test_progress_and_log_lines_are_the_workers(live: Apart) -> None:
    watching = asyncio.create_task(_half(live))
    with structlog.testing.capture_logs() as lines:
        await live.value("progress")
    assert await asyncio.wait_for(watching, 5.0) == "half"
    mine = [line for line in lines if line["event"] in {"half way", "caught"}]
    assert [(line["role"], line["attempt"]) for line in mine] == [("apart", 1)] * 2
    assert (mine[0]["words"], mine[0]["thing"], mine[0]["log_level"]) == (3, "x", "info")
    assert "KeyError: 'k'" in mine[1]["exception"]


async def _half(live: Apart) -> str:
    """The note of the first progress beyond a quarter."""
    async for progress in live.fleet.client.progress():
        if progress.share > 0.25:
            return progress.note
    return ""


async def test_follow_ups_have_the_ids_they_would_have_without_a_process(live: Apart) -> None:
    """So that a suspect's second run publishes nothing twice."""
    payload = {"a": [1.0, "ü", None, 1e22]}
    task = await live.fleet.client.publish("apart.x", {"what": "publish", "value": payload})
    bodies = [to_json({"n": 1.0, "big": 2**70}), to_json(payload)]
    names = [child_id(task.id, n, "topic leaf.x", body) for n, body in enumerate(bodies, 1)]
    assert await task.result(20.0) == names


async def test_an_error_of_ours_arrives_as_what_it_is(live: Apart) -> None:
    """Unroutable is retryable; the handler let it escape, so it is retried, then exhausted."""
    end = await live.end("publish_nowhere")
    assert (end.reason, end.attempt) == (Reason.EXHAUSTED, 2)
    assert "Unroutable" in end.error


async def test_calls_are_made_by_the_worker(live: Apart) -> None:
    assert await live.value("call", 5) == [0, 1, 2, 3, 4]
    failed, unknown = await live.value("call_badly")
    assert failed == ["rejected", "as told"]
    assert unknown[0] == "no role 'no-such-role' is bound"
    assert unknown[2] == ["start it: `muster work no-such-role`"]


async def test_a_call_that_is_given_up_is_given_up_here_too(live: Apart) -> None:
    assert await live.value("call_briefly") == "gave up"


async def test_a_run_that_is_cut_by_a_drain_is_handed_back_without_a_trace(
    tmp_path: Path,
) -> None:
    fleet = LiveFleet(lease=5.0)
    async with fleet.running(*running("apart"), drain=0.0):
        live = Apart(fleet, tmp_path)
        run = asyncio.create_task(live.end("hang"))
        pids = [int(pid) for pid in await live.words("pids")]
        run.cancel()
    assert await gone(pids) < CUT
    (again,) = fleet.broker.pull("apart", [RETRY], 5, asyncio.get_running_loop().create_future())[0]
    assert again.message.copy == 1
    assert "muster-attempt" not in again.message.headers


async def test_a_lost_lease_ends_the_child(tmp_path: Path) -> None:
    fleet = LiveFleet(lease=5.0)
    async with fleet.running(*running("apart"), drain=0.0) as host:
        live = Apart(fleet, tmp_path)
        run = asyncio.create_task(live.end("hang"))
        pids = [int(pid) for pid in await live.words("pids")]
        (only,) = host.worker("apart")._runs.values()
        host.worker("apart").lose(only.delivery)
        await gone(pids)
        run.cancel()


async def test_a_suspect_of_any_role_runs_in_a_child_process(tmp_path: Path) -> None:
    """And others of the same role do not."""
    fleet = LiveFleet(lease=5.0)
    async with fleet.running(*running("shared")):
        live = Apart(fleet, tmp_path)
        assert (await live.value("echo", role="shared"))["pid"] == os.getpid()
        task = Envelope(
            id="s1",
            topic="shared.x",
            source="/test",
            time=0.0,
            body=b'{"what": "signal", "value": 9}',
            copy=1,
            attempt=1,
            suspect=True,
            reply=fleet.client._reply,
        )
        await fleet.client.bus._backend.publish([to_message(task, group="shared")])
        end = await fleet.client.wait_for("s1", 20.0)
    assert (end.reason, end.attempt) == (Reason.CRASH, 3)
    assert end.error.startswith("its process ended with signal 9")


async def test_suspects_of_a_role_that_runs_many_tasks_are_few_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that waits for another task lets others start, or it might wait for ever."""
    monkeypatch.setattr(isolation, "MOST_SUSPECTS", 1)
    fleet = LiveFleet(lease=5.0)
    async with fleet.running(*running("shared", "leaf"), drain=0.0) as host:
        apart, most = host._isolation, asyncio.timeout(10.0)
        async with most, AsyncExitStack() as stack, apart.child(ROLES["shared"]) as first:
            second = asyncio.create_task(stack.enter_async_context(apart.child(ROLES["shared"])))
            await asyncio.wait([second], timeout=0.1)
            assert not second.done()
            first.waits()
            first.waits()
            assert await second is not first
        assert not apart._suspects.locked()


async def test_a_child_that_cannot_be_started_costs_no_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = LiveFleet(lease=5.0)
    async with fleet.running(*running("apart")) as host:
        live = Apart(fleet, tmp_path)
        await _end_forker(host)
        assert (await live.value("echo"))["attempt"] == 1
        monkeypatch.setattr(isolation, "START", 0.0)
        assert (await live.end("echo")).reason is Reason.TIMEOUT


async def _end_forker(host: Host) -> None:
    """The process that forks is killed while nothing runs; the next task has another."""
    process = host._isolation._nursery._process
    assert process is not None
    process.kill()
    await asyncio.to_thread(process.wait)


WORKER = """
import asyncio, sys
from pathlib import Path
from contracts.envelope import Envelope
from workers.engine.isolation import Isolation
from workers.sdk.discovery import discover

async def main():
    role = discover([Path(sys.argv[1])])["apart"]
    body = b'{"what": "%s", "file": "%s"}' % (sys.argv[3].encode(), sys.argv[2].encode())
    task = Envelope(id="t", topic="apart.x", source="/x", time=0.0, body=body)
    async with Isolation().child(role) as child:
        await child.begin(task)
        await child.run(None)

asyncio.run(main())
"""


@pytest.mark.parametrize("what", ["hang", "block"])
@pytest.mark.parametrize("both", [False, True], ids=["worker", "worker-and-forker"])
async def test_a_killed_worker_leaves_no_process(tmp_path: Path, what: str, both: bool) -> None:
    """Not even one that blocks, ignores signals or has started others."""
    live = Apart(LiveFleet(lease=5.0), tmp_path)
    arguments = [str(ROLES["apart"].file), str(live.said), what]
    worker = subprocess.Popen([sys.executable, "-c", WORKER, *arguments])  # noqa: ASYNC220
    pids = [int(pid) for pid in await live.words("pids")]
    (forker,) = psutil.Process(worker.pid).children()
    worker.kill()
    if both:
        forker.kill()
    await asyncio.to_thread(worker.wait)
    await gone([*pids, forker.pid])
