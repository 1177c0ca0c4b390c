"""How a role says it is retried: which errors, after how long, and how often."""

from typing import Any

import pytest

from bus.errors import Unreachable
from contracts.errors import InvalidValue, MusterError
from contracts.outcomes import Reason, Retry
from tests.engine.fleets import ManualFleet, made
from workers.sdk.context import Context


class Busy(Exception):
    """As clients of other services raise it."""

    def __init__(self, retry_after: object) -> None:
        super().__init__("busy")
        self.retry_after = retry_after


class Failing:
    """A handler that raises each time, and when it ran."""

    def __init__(self, fleet: ManualFleet, error: BaseException) -> None:
        self.fleet = fleet
        self.error = error
        self.times: list[float] = []

    async def end(self, **options: Any) -> Any:
        """How its task ends."""

        async def handler(payload: object, ctx: Context) -> None:
            self.times.append(self.fleet.clock.wall())
            raise self.error

        await self.fleet.start(made(handler, **options))
        task = await self.fleet.client.publish("work.a", None)
        return await self.fleet.within(task.outcome(), 10_000.0)

    @property
    def waits(self) -> list[float]:
        """Seconds between its runs."""
        return [b - a for a, b in zip(self.times, self.times[1:], strict=False)]


@pytest.mark.parametrize(
    ("error", "policy", "runs", "reason"),
    [
        (KeyError("k"), {"retry_on": OSError}, 1, Reason.REJECTED),
        (ConnectionError("c"), {"retry_on": OSError}, 3, Reason.EXHAUSTED),
        (ValueError("v"), {"never_retry": (KeyError, ValueError)}, 1, Reason.REJECTED),
        (KeyError("k"), {"never_retry": ValueError}, 3, Reason.EXHAUSTED),
        (
            ConnectionError("c"),
            {"retry_on": OSError, "never_retry": ConnectionError},
            1,
            "rejected",
        ),
        (Unreachable("away"), {"retry_on": OSError}, 3, Reason.EXHAUSTED),
        (Unreachable("away"), {"never_retry": MusterError}, 1, Reason.REJECTED),
        (InvalidValue("wrong"), {"retry_on": InvalidValue}, 3, Reason.EXHAUSTED),
        (InvalidValue("wrong"), {}, 1, Reason.REJECTED),
        (SystemExit(3), {"retry_on": Exception}, 1, Reason.REJECTED),
    ],
)
async def test_a_role_says_which_errors_are_worth_another_attempt(
    fleet: ManualFleet, error: BaseException, policy: Any, runs: int, reason: str
) -> None:
    failing = Failing(fleet, error)
    end = await failing.end(attempts=3, **policy)
    assert (len(failing.times), end.reason) == (runs, reason)


async def test_an_error_that_is_final_keeps_its_traceback(fleet: ManualFleet) -> None:
    end = await Failing(fleet, KeyError("k")).end(retry_on=OSError)
    assert end.error.startswith("KeyError: 'k'\nTraceback")


@pytest.mark.parametrize("after", [90.0, 90])
async def test_an_error_that_says_when_is_tried_again_then(
    fleet: ManualFleet, after: float
) -> None:
    failing = Failing(fleet, Busy(after))
    await failing.end(attempts=3)
    assert all(90.0 <= wait <= 91.5 for wait in failing.waits)


@pytest.mark.parametrize("after", [None, "soon", True, -1, float("nan"), float("inf"), 1e12])
async def test_an_error_that_says_no_time_to_wait_is_tried_again_by_backoff(
    fleet: ManualFleet, after: object
) -> None:
    failing = Failing(fleet, Busy(after))
    await failing.end(attempts=3, backoff=0.5)
    assert all(wait <= 2.5 for wait in failing.waits)


async def test_without_jitter_waits_are_what_the_role_says(fleet: ManualFleet) -> None:
    failing = Failing(fleet, ValueError("no"))
    await failing.end(
        attempts=5, backoff=10.0, backoff_factor=3.0, backoff_cap=60.0, backoff_jitter=0.0
    )
    expected = [10.0, 30.0, 60.0, 60.0]
    pairs = zip(expected, failing.waits, strict=True)
    assert all(wait <= got <= wait + 1.5 for wait, got in pairs)


async def test_a_handler_that_returns_a_retry_is_not_asked_for_an_error(fleet: ManualFleet) -> None:
    async def handler(payload: object, ctx: Context) -> Any:
        return "done" if ctx.attempt == 2 else Retry(after=0.0)

    await fleet.start(made(handler, retry_on=OSError))
    task = await fleet.client.publish("work.a", None)
    assert await fleet.within(task.result()) == "done"


@pytest.mark.parametrize(
    ("policy", "runs"),
    [({}, 2), ({"never_retry": TimeoutError}, 1), ({"retry_on": ValueError}, 1)],
)
async def test_a_run_that_took_too_long_counts_as_a_timeout_error(
    fleet: ManualFleet, policy: Any, runs: int
) -> None:
    """In real time: limits on handlers are."""
    attempts: list[int] = []

    async def handler(payload: object, ctx: Context) -> None:
        attempts.append(ctx.attempt)
        await fleet.clock.sleep(1e9)

    await fleet.start(made(handler, attempts=2, timeout=0.02, **policy))
    task = await fleet.client.publish("work.a", None)
    end = None
    while end is None:
        await fleet.clock.advance(0.05)
        end = await fleet.bus.outcomes.get(task.reply or "", task.id)
    assert (end.reason, len(attempts)) == (Reason.TIMEOUT, runs)
