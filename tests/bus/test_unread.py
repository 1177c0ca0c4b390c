"""Too much that nobody has read: progress is left untold first, then starts, never ends."""

import pytest

from bus.errors import Unreachable
from bus.unread import LOOK_EVERY, STARTS, Unread
from contracts.clock import ManualClock
from contracts.events import TERMINAL, Kind


class Waiting:
    """So many messages wait; None: the broker is away."""

    def __init__(self) -> None:
        self.count: int | None = 0
        self.asked = 0

    async def __call__(self) -> int:
        self.asked += 1
        if self.count is None:
            raise Unreachable("away")
        return self.count


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def looked(unread: Unread, clock: ManualClock, size: int = 100) -> None:
    """Let it look at what waits."""
    await clock.advance(LOOK_EVERY)
    unread.sent(size)
    unread.look()
    await clock.advance(0.0)


@pytest.mark.parametrize(
    ("count", "untold"),
    [
        (10, set()),
        (11, {Kind.PROGRESS}),
        (int(10 * STARTS), {Kind.PROGRESS}),
        (int(10 * STARTS) + 1, {Kind.PROGRESS, Kind.STARTED}),
        (1_000_000, {Kind.PROGRESS, Kind.STARTED}),
    ],
)
async def test_what_is_told_depends_on_what_waits(
    clock: ManualClock, count: int, untold: set[Kind]
) -> None:
    waiting = Waiting()
    unread = Unread(waiting, clock, limit=1000)
    waiting.count = count
    await looked(unread, clock)
    assert {kind for kind in Kind if not unread.admits(kind)} == untold
    assert unread.dropped == len(untold)
    assert not TERMINAL & untold
    await unread.close()


async def test_it_looks_seldom_and_tells_again_when_less_waits(clock: ManualClock) -> None:
    waiting = Waiting()
    unread = Unread(waiting, clock, limit=1000)
    waiting.count = 50
    for _ in range(100):
        unread.sent(100)
        unread.look()
        await clock.advance(LOOK_EVERY / 50)
    assert waiting.asked == 2
    assert not unread.admits(Kind.PROGRESS)
    waiting.count = None
    await looked(unread, clock)
    assert not unread.admits(Kind.PROGRESS), "a broker that is away says nothing"
    waiting.count = 0
    await looked(unread, clock)
    assert unread.admits(Kind.PROGRESS)
    await unread.close()
