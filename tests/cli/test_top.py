"""`muster top`: as a person sees it, as a program reads it, and while the bus is away."""

import json
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from tests.cli.letters import letter, put
from tests.cli.running import Muster
from tests.cli.terminal import terminal
from tests.servers import NatsServer
from workers.cli.overview import Overview, RoleNow, WorkerNow
from workers.cli.ps import Row
from workers.cli.topview import Latest, Order, View, lines, pressed
from workers.fleet.meter import Rates
from workers.fleet.presence import Alive


def row(role: str, waiting: int, **fields: object) -> Row:
    """A role of which so many wait."""
    lanes = {"high": 0, "retry": 0, "normal": waiting, "low": 0}
    given = {"listens": (), "workers": 1, "running": 0, "done": 0, "failed": 0, "cancelled": 0}
    more = {"paused": False, "waiting": lanes, "delayed": 0, "leased": 0, **fields}
    return Row(role=role, **{**given, **more})  # type: ignore[arg-type]


def now(role: str, waiting: int = 0, *, started: float = 0.0, dead: int = 0) -> RoleNow:
    """A role as it is now."""
    return RoleNow(
        row=row(role, waiting),
        slots=8,
        rates=Rates(started, started, 0.0, 0.0, 0.0),
        run=(0.02, float("inf")),
        wait=(None, None),
        dead=dead,
        restarts=None,
        crash=None,
    )


def worker(role: str, number: int) -> WorkerNow:
    """A worker of it."""
    alive = Alive(
        role=role,
        worker=f"w{number}",
        pid=number,
        host="a-host-with-a-rather-long-name",
        since=0.0,
        at=100.0,
        concurrency=8,
        memory=50 * 1024**2,
    )
    return WorkerNow(alive, 0.5, 1)


OVERVIEW = Overview(
    100.0,
    tuple(now(f"role-{n:02}", n, started=20.0 - n, dead=n % 3) for n in range(12)),
    tuple(worker(f"role-{n % 12:02}", n) for n in range(40)),
)


def test_a_worker_whose_sign_of_life_is_overdue_is_silent() -> None:
    """What it runs is not known: the number of its last sign is not shown as if it were."""
    overview = Overview(109.0, (), (worker("role", 1),))
    shown = lines(Latest(overview, 109.0), View(), width=200, height=24, title="t")
    (line,) = [line.plain for line in shown if "silent" in line.plain]
    assert "silent for 9 s" in line
    assert "?/8" in line


@pytest.mark.parametrize("width", [1, 10, 20, 40, 79, 80, 132, 300])
@pytest.mark.parametrize("height", [2, 3, 5, 10, 24, 60])
def test_it_fits_every_terminal(width: int, height: int) -> None:
    """And what is most important is there: the roles, and how to quit."""
    for latest in (
        Latest(OVERVIEW, 101.0),
        Latest(OVERVIEW, 120.0, away="cut", since=110.0),
        Latest(None, 1.0),
    ):
        shown = lines(latest, View(), width=width, height=height, title="muster t")
        assert len(shown) <= height
        assert max(cell_len(line.plain) for line in shown) <= width
    assert (
        "quit"[: width - 2]
        in lines(Latest(OVERVIEW, 101.0), View(), width=max(width, 6), height=height, title="t")[
            -1
        ].plain
    )


def text(view: View, *, width: int = 200, height: int = 100) -> str:
    """What is shown."""
    found = lines(Latest(OVERVIEW, 101.0), view, width=width, height=height, title="muster t")
    return "\n".join(line.plain for line in found)


def test_a_narrow_terminal_leaves_out_what_matters_least() -> None:
    assert "AGAIN/S" in text(View())
    narrow = text(View(), width=60)
    assert "AGAIN/S" not in narrow
    assert all(head in narrow for head in ("ROLE", "WAITING", "START/S", "DEAD"))


def test_a_low_terminal_counts_what_is_left_out() -> None:
    low = text(View(), height=12)
    assert "more" in low
    assert "ROLE" in low


def test_what_the_recorder_does_is_no_task() -> None:
    """It moves events; the head counts tasks."""
    recorder = Overview(1.0, (now("recorder", started=900.0), now("coder", started=2.0)), ())
    head = lines(Latest(recorder, 1.0), View(), width=200, height=50, title="t")[0].plain
    assert head.endswith(" 2.0 started/s")


def test_times_are_told_as_bounds() -> None:
    assert "≤20ms" in text(View())
    assert ">30m" in text(View())


def test_roles_are_sorted_and_filtered_by_keys() -> None:
    view = View()
    for _ in range(list(Order).index(Order.WAITING)):
        view = pressed(view, "s") or view
    shown = text(view)
    assert shown.index("role-11") < shown.index("role-00")
    for key in "f07x\x7f\r":
        view = pressed(view, key) or view
    assert view.filter == "07"
    shown = text(view)
    assert "role-07" in shown
    assert "role-11" not in shown
    assert pressed(view, "\x1b") == View(view.order)
    assert pressed(view, "\x1b[A") == view
    assert pressed(view, "q") is None


def test_a_bus_that_is_away_is_told_first_with_the_age_of_what_is_below() -> None:
    latest = Latest(OVERVIEW, 130.0, away="no answer", since=110.0)
    head = lines(latest, View(), width=200, height=50, title="muster t")[0].plain
    assert "the bus is away for 20 s" in head
    assert "no answer" in head


@pytest.mark.nats
def test_a_person_looks_sorts_filters_and_quits(fleet: Muster) -> None:
    with terminal(fleet, "top", "--every", "500ms", columns=80, lines=20) as seen:
        seen.until("greeter", "ROLE", "WAITING", "q quit")
        assert "\x1b[?1049h" in seen.shown  # on a screen of its own
        seen.press("s")
        seen.until("sort (waiting)")
        seen.press("fnobody")
        seen.until("filter: nobody")
        seen.press("\r")
        seen.until("filter (nobody)")
        seen.press("q")
        assert seen.ended() == 0
        assert "\x1b[?1049l" in seen.shown  # which it leaves


@pytest.mark.nats
def test_ctrl_c_ends_it_in_good_order(fleet: Muster) -> None:
    with terminal(fleet, "top", columns=40, lines=6) as seen:
        seen.until("greeter")
        seen.process.send_signal(signal.SIGINT)
        assert seen.ended() == 0


@pytest.mark.nats
def test_rates_are_told_to_a_program_line_by_line(fleet: Muster) -> None:
    """Every line is whole JSON; the figures are those of the tasks that were published."""
    top = fleet.start("top", "--json", "--every", "500ms")
    assert top.stdout is not None
    first = json.loads(top.stdout.readline())
    assert first["away"] is None
    given = '{"name": "Ada"}\n' * 40
    assert fleet("publish", "greeter.x", "-", "--lines", given=given).code == 0
    begun, rates, looks = _role(first)["done"], [0.0], [first["at"]]
    said = _role(first)
    while said["done"] < begun + 40 or not max(rates):
        line = json.loads(top.stdout.readline())
        said = _role(line)
        looks.append(line["at"])
        rates.append(said["rates"]["succeeded"] if said["rates"] else 0.0)
    assert said["workers"] == 1
    shortest = min(later - earlier for earlier, later in pairwise(looks))
    assert 0 < max(rates) * shortest <= 40 * 1.01, "no more than there were, between two looks"
    assert 0 < said["run_seconds"]["p50"] <= said["run_seconds"]["p99"] <= 5
    assert said["wait_seconds"]["p99"] > 0
    top.send_signal(signal.SIGINT)
    top.communicate(timeout=20)
    assert top.returncode == 0


def _role(said: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return next(role for role in said["roles"] if role["role"] == "greeter")


@pytest.mark.nats
def test_once_is_one_view_and_dead_letters_are_counted(fleet: Muster) -> None:
    put(fleet, letter("top-1"), letter("top-2"))
    ended = fleet("top", "--once", "--every", "500ms", "--json")
    assert ended.code == 0, ended.err
    assert _role(ended.json)["dead"] == 2
    shown = fleet("top", "--once", "--every", "500ms").out
    assert shown.count("ROLE") == 2  # one table of roles, one of workers
    assert fleet("dlq", "purge", "top-1", "top-2").code == 0


@pytest.mark.nats
def test_a_bus_that_goes_and_comes_is_told(
    own_nats: Callable[[], NatsServer], tmp_path: Path
) -> None:
    server = own_nats()
    muster = Muster(tmp_path, MUSTER_BUS_URL=server.url, MUSTER_FLEET_NAME="away")
    put(muster, letter("t1"))
    top = muster.start("top", "--json", "--every", "500ms")
    assert top.stdout is not None
    assert json.loads(top.stdout.readline())["roles"][0]["dead"] == 1
    server.kill()
    while not (said := json.loads(top.stdout.readline()))["away"]:
        pass
    assert said["away"]["why"]
    server.start()
    while json.loads(top.stdout.readline())["away"]:
        pass
    top.send_signal(signal.SIGINT)
    top.communicate(timeout=20)
    assert top.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--every", "10ms"), 2, "--every cannot be '10ms'"),
        (("--every", "often"), 2, "--every cannot be 'often'"),
        (("--sort", "beauty"), 2, "--sort"),
        ((), 3, "no bus is running here"),
        (("--once", "--json"), 3, ""),
    ],
)
def test_mistakes_and_an_absent_bus_are_errors(
    muster: Muster, arguments: tuple[str, ...], code: int, says: str
) -> None:
    ended = muster("top", *arguments)
    assert ended.code == code
    if says:
        assert says in ended.lines[0]
