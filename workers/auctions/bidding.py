"""What a task is worth to a worker: pure, so that a bid can be explained and tested.

Each part is a share from 0 to 1; the score is their sum, weighted in thousandths:

* skills, 400: 1 - 1/2^n for n skills that the words of the task name. The wrong worker costs a
  whole run, so this outweighs any other part; the first match says most.
* success, 250: (succeeded + 1) / (runs + 2) of similar tasks. A failed run is paid for and done
  again. Laplace's rule of succession gives a newcomer a half, so that it gets a chance.
* free, 200: free places / all places. Work spreads before anybody is full; less than skills, or
  an idle worker would beat one that knows how.
* speed, 100: 60 / (60 + mean seconds), a half at a minute and where nothing is known.
* cost, 50: 10,000 / (10,000 + mean micro-dollars), a half at a cent and where nothing is known. It
  decides between workers that are alike; of equal scores the ledger takes the lower cost anyhow.

Similar tasks are those of the same topic (`workers.auctions.experience`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pydantic_core import to_json

from contracts.auctions import MAX_PARTS
from workers.sdk.bids import Bid, BidFunction, Situation

WEIGHTS: Mapping[str, int] = MappingProxyType(
    {"skills": 400, "success": 250, "free": 200, "speed": 100, "cost": 50}
)
"""Thousandths of the score; the module says why."""

HALF_SECONDS = 60.0
HALF_COST = 10_000.0
"""Where the shares of speed and cost are a half."""

MOST = 1 << 62
"""Scores lie between -MOST and MOST, costs between 0 and MOST (`consensus.ledger.entries`)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the ledger is told. `parts` are JSON, at most 512 bytes. `passed`: it is not wanted."""

    passed: bool
    score: int
    cost: int
    parts: bytes


def default_bid(s: Situation) -> Bid | None:
    """The bid of a role that has no `bid` of its own; None without a free place."""
    if s.free < 1:
        return None
    shares = {
        "skills": _matched(s),
        "success": (s.succeeded + 1) / (s.runs + 2),
        "free": min(1.0, s.free / max(1, s.slots)),
        "speed": 0.5 if s.seconds is None else HALF_SECONDS / (HALF_SECONDS + s.seconds),
        "cost": 0.5 if s.cost is None else HALF_COST / (HALF_COST + s.cost),
    }
    parts = {name: round(WEIGHTS[name] * share) for name, share in shares.items()}
    told: dict[str, str | int | float] = {**parts, "runs": s.runs}
    if s.seconds is not None:
        told["seconds"] = round(s.seconds, 3)
    return Bid(sum(parts.values()), s.cost or 0, told)


def answer_of(bid: BidFunction, situation: Situation) -> Answer:
    """What `bid` comes to. One that fails, or says what no ledger can take, passes, and the parts
    say why: an auction goes on with the others."""
    try:
        found: object = bid(situation)
    except Exception as error:  # noqa: BLE001 - a role's own code
        return passed(f"{type(error).__name__}: {error}")
    if found is None:
        return passed("no free place" if situation.free < 1 else "not wanted")
    if not isinstance(found, Bid):
        return passed(f"bid returned {type(found).__name__}, expected Bid or None")
    wrong = _wrong(found)
    if wrong:
        return passed(wrong)
    return Answer(False, found.score, found.cost, parts_of(found.parts))


def passed(why: str) -> Answer:
    """The answer of a worker that does not want the task now."""
    return Answer(True, 0, 0, parts_of({"why": why[:200]}))


def parts_of(parts: Mapping[str, str | int | float]) -> bytes:
    """As JSON, the first ones as far as they fit; `left_out` counts the others."""
    kept: dict[str, object] = {}
    for name, value in parts.items():
        more = {**kept, str(name): value}
        if _size(more) > MAX_PARTS - _ROOM:
            continue
        kept = more
    if len(kept) < len(parts):
        kept["left_out"] = len(parts) - len(kept)
    return to_json(kept, inf_nan_mode="null")


_ROOM = 24
"""Bytes for what says how many were left out."""


def _size(parts: Mapping[str, object]) -> int:
    try:
        return len(to_json(parts, inf_nan_mode="null"))
    except ValueError:
        return MAX_PARTS + 1


def _matched(s: Situation) -> float:
    known = sum(skill.casefold() in s.words for skill in s.skills)
    return 1.0 - 0.5**known


def _wrong(bid: Bid) -> str:
    said: tuple[tuple[str, object, int], ...] = (
        ("score", bid.score, -MOST),
        ("cost", bid.cost, 0),
    )
    for name, value, least in said:
        if not isinstance(value, int) or isinstance(value, bool):
            return f"bid gave {name}={value!r}, which is no whole number"
        if not least <= value <= MOST:
            return f"bid gave {name}={value}, which is out of range"
    return ""
