"""What `muster doctor` finds: a line for each check, and what the whole comes to."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from contracts.errors import MusterError
from workers.cli.errors import FAILED, UNREACHABLE, code_of
from workers.fleet.replicas import Range
from workers.sdk.errors import RoleError
from workers.settings import Loaded
from workers.wiring import all_roles


class State(StrEnum):
    """How a check ended; only `fail` changes the exit code. A `note` is what cannot be seen from
    here, and is well unless somebody has changed it."""

    OK = "ok"
    NOTE = "note"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what was looked at, what was found, and where that is not well why it matters,
    which promise it touches, and what to do. `error` says why it failed."""

    what: str
    state: State
    said: str
    do: str = ""
    error: MusterError | None = None
    why: str = ""
    promise: int | None = None

    @property
    def reason(self) -> str:
        """Why it matters, with its promise."""
        return f"promise {self.promise}: {self.why}" if self.promise is not None else self.why

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        names = ("what", "state", "said", "why", "promise", "do")
        return {name: getattr(self, name) for name in names}


def failed(what: str, error: MusterError) -> Check:
    """A check that found `error`."""
    message, why, do = error.lines()
    return Check(what, State.FAIL, f"{message}: {why}", do, error)


def code(found: Sequence[Check]) -> int:
    """3 where a service cannot be reached, else 1 where anything is red, else 0."""
    errors = [check.error for check in found if check.error is not None]
    if any(code_of(error) == UNREACHABLE for error in errors):
        return UNREACHABLE
    return FAILED if any(check.state is State.FAIL for check in found) else 0


def roles(loaded: Loaded) -> Check:
    """Whether every role imports."""
    try:
        found = all_roles(loaded)
    except RoleError as error:
        return failed("roles", error)
    return Check("roles", State.OK, f"{len(found)}: {', '.join(sorted(found))}")


def replicas(loaded: Loaded) -> int:
    """Worker processes that `muster up` would start here at least."""
    try:
        known = all_roles(loaded)
    except RoleError:
        return 0
    settings = loaded.settings.roles
    wanted = [settings[name].replicas if name in settings else 1 for name in known]
    return sum(one.min if isinstance(one, Range) else one for one in wanted)
