"""What may be said in a role's declaration; what cannot work is found at its import."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from types import MappingProxyType
from typing import Any, Literal, TypedDict

from contracts.errors import InvalidTopic
from contracts.limits import Limit
from contracts.topics import check_group, check_pattern, near
from workers.sdk.auctioning import OPTIONS as OF_AUCTIONS
from workers.sdk.auctioning import Assign, Fallback, auctioned
from workers.sdk.bids import BidFunction
from workers.sdk.handlers import Place, declaration, signature

Isolation = Literal["process"]
"""Where a task runs that may not share its worker's process."""

Delivery = Literal["at-least-once", "once"]
"""How often a task may be started after it has begun."""

LEAST_MEMORY_MB = 64
"""What an idle child process holds, twice."""

Errors = type[BaseException] | Sequence[type[BaseException]]


class Options(TypedDict, total=False):
    """The options of `@role`, all of them optional.

    `listens`: patterns of the topics it takes; without any it is reached by `ctx.call` only.
    `concurrency` (8): tasks that run at once in one process. `timeout` (120): seconds one run may
    take. `attempts` (5): runs before a failing task is a dead letter.

    `backoff` (1), `backoff_factor` (2), `backoff_cap` (300) and `backoff_jitter` (1): the wait
    before retry n is at most `w = min(backoff_cap, backoff · backoff_factor^n)` seconds, drawn from
    [(1 - backoff_jitter) · w, w]. An exception with a number in its attribute `retry_after` says
    itself how long to wait. `retry_on`: only these exceptions are worth another attempt; the task
    of any other is a dead letter. `never_retry`: these are not, whatever `retry_on` says. A run
    that took too long counts as a `TimeoutError`. Errors of muster's say themselves whether
    repeating is useful, unless they are named here.

    `delivery="once"`: a task is started at most once; whatever ends that run, it is not run again
    by itself. How it ended is remembered for `once_for` seconds (86,400), within which nothing of
    the same id starts.

    `isolation="process"` runs each task in a process of its own, which dies with it: `memory_mb`
    is what it may hold (from 64 on; with all it starts), `files` how many it may open. What needs
    more memory, or ends its process, uses up an attempt and dies of `crash`.

    `limits`: how often its tasks may start and how many may run at once over the whole fleet, by
    role, tenant or a field of the payload; all of them hold. What has to wait uses no attempt.

    `assign="auction"`: workers bid for each task, and the ledger decides; needs one. A round takes
    at most `window` (0.5) seconds; the winner holds its award for `lease` (30) seconds, which it
    renews, and at most `max_awards` (3) may lapse. `skills`: words that match those of a task's
    topic and subjects. `slots`: awards that one process may hold, by default its concurrency.
    `bid`: a pure function of `workers.Situation` that gives a `workers.Bid`, or None to pass.
    `fallback="queue"`: new tasks run without an auction while the ledger is away; else they wait.
    """

    listens: str | Sequence[str]
    concurrency: int
    timeout: float
    attempts: int
    backoff: float
    backoff_factor: float
    backoff_cap: float
    backoff_jitter: float
    retry_on: Errors
    never_retry: Errors
    delivery: Delivery
    once_for: float
    isolation: Isolation | None
    memory_mb: int | None
    files: int | None
    limits: Sequence[Limit]
    assign: Assign
    skills: str | Sequence[str]
    window: float
    lease: float
    max_awards: int
    slots: int | None
    fallback: Fallback
    bid: BidFunction | None


def fields_of(handler: Callable[..., Any], name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What `workers.sdk.role.Role` is made of. Raises `RoleError`."""
    place = Place.of(name, handler)
    _check_names(options, place)
    found = signature(handler, place)
    own = {key: value for key, value in options.items() if key in _CHECKS}
    checked = {key: _CHECKS[key](key, value, place) for key, value in own.items()}
    checked.setdefault("listens", ())
    _check_name(name, checked["listens"], place)
    _check_isolation(checked, place)
    _check_once(checked, place)
    return {
        "name": name,
        "handler": handler,
        "payload": found.payload,
        "result": found.result,
        "plain": found.plain,
        "resources": found.resources,
        "file": place.file,
        "line": place.line,
        "auction": auctioned(options, checked, place),
        **checked,
    }


def _check_names(options: Mapping[str, Any], place: Place) -> None:
    known = [*_CHECKS, *OF_AUCTIONS]
    for option in options:
        if option not in known:
            close = near(option, known, limit=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
            raise declaration(place, f"there is no option {option!r}; {hint}")


def _patterns(_: str, value: Any, __: Place) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _check_name(name: str, patterns: Sequence[str], place: Place) -> None:
    try:
        for pattern in patterns:
            check_pattern(pattern)
        check_group(name)
    except InvalidTopic as error:
        raise declaration(place, f"{error.message}: {error.details}") from error


def _positive(what: str, value: Any, place: Place) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise declaration(place, f"{what}={value!r} has to be above 0")
    return value


def _whole(what: str, value: Any, place: Place) -> Any:
    if not isinstance(value, int):
        raise declaration(place, f"{what}={value!r} has to be a whole number")
    return _positive(what, value, place)


def _finite(what: str, value: Any, place: Place) -> Any:
    if not isfinite(_positive(what, value, place)):
        raise declaration(place, f"{what}={value!r} has to be a number of seconds")
    return value


def _factor(what: str, value: Any, place: Place) -> Any:
    if _finite(what, value, place) < 1:
        raise declaration(place, f"{what}={value!r} has to be at least 1: waits do not shrink")
    return value


def _share(what: str, value: Any, place: Place) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise declaration(place, f"{what}={value!r} has to be a share from 0 to 1")
    return value


def _errors(what: str, value: Any, place: Place) -> tuple[type[BaseException], ...]:
    """Exception classes, whatever they came in."""
    given = tuple(value) if isinstance(value, list | tuple | set | frozenset) else (value,)
    for each in given:
        if not (isinstance(each, type) and issubclass(each, BaseException)):
            raise declaration(place, f"{what}={each!r}, expected classes of exceptions")
    return given


def _delivery(what: str, value: Any, place: Place) -> Any:
    if value not in {"at-least-once", "once"}:
        raise declaration(place, f'{what}={value!r}, expected "once" or "at-least-once"')
    return value


def _isolation(what: str, value: Any, place: Place) -> Any:
    if value not in {None, "process"}:
        raise declaration(place, f'{what}={value!r}, expected "process" or None')
    return value


def _limits(what: str, value: Any, place: Place) -> tuple[Limit, ...]:
    fit = tuple(limit for limit in value if isinstance(limit, Limit))
    if len(fit) < len(value):
        reason = f"{what}={value!r}, expected a list of Limit(rate=…, concurrency=…, by=…)"
        raise declaration(place, reason)
    return fit


def _as_it_is(_: str, value: Any, __: Place) -> Any:
    return value


def _check_isolation(given: Mapping[str, Any], place: Place) -> None:
    for what in ("memory_mb", "files"):
        limit = given.get(what)
        if limit is None:
            continue
        if given.get("isolation") is None:
            raise declaration(place, f'{what}={limit!r} needs isolation="process"')
        least = LEAST_MEMORY_MB if what == "memory_mb" else 1
        if _whole(what, limit, place) < least:
            raise declaration(place, f"{what}={limit!r} is too little, at least {least}")


_OF_RETRIES = ("retry_on", "never_retry")


def _check_once(given: dict[str, Any], place: Place) -> None:
    """One attempt is all a task of such a role has."""
    if given.get("delivery") != "once":
        if "once_for" in given:
            raise declaration(place, 'once_for belongs to delivery="once"')
        return
    if given.setdefault("attempts", 1) != 1:
        reason = f'attempts={given["attempts"]} and delivery="once" contradict each other'
        raise declaration(place, f"{reason}: a task is started at most once")
    for what in _OF_RETRIES:
        if what in given:
            raise declaration(place, f'{what} says what to retry, delivery="once" never does')


_CHECKS: Mapping[str, Callable[[str, Any, Place], Any]] = MappingProxyType(
    {
        "listens": _patterns,
        "concurrency": _whole,
        "timeout": _positive,
        "attempts": _whole,
        "backoff": _positive,
        "backoff_factor": _factor,
        "backoff_cap": _finite,
        "backoff_jitter": _share,
        "retry_on": _errors,
        "never_retry": _errors,
        "delivery": _delivery,
        "once_for": _finite,
        "isolation": _isolation,
        "memory_mb": _as_it_is,
        "files": _as_it_is,
        "limits": _limits,
    }
)
